# SPDX-License-Identifier: GPL-2.0
# What building for one architecture takes; sourced after ARCH is known.
# shellcheck shell=sh disable=SC2034,SC2154
case $arch in
x86)	kernel_arch=x86_64 cross='' image=bzImage ;;
arm64)	kernel_arch=arm64 cross=aarch64-linux-gnu- image=Image ;;
*)	echo "no such architecture: $arch" >&2; exit 2 ;;
esac
cc=${cross}gcc
if command -v ccache >/dev/null; then cc="ccache $cc"; fi
