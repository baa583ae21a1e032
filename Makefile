# SPDX-License-Identifier: GPL-2.0
# The verbs of the repository; "make help" lists them. Each is a short script
# in scripts/. Everything made lands in $(O), nothing in the clone beside it.

O ?= build
KSRC_TARBALL ?= /usr/src/linux-source-6.1.tar.xz
override O := $(abspath $(O))

# The lane and the kernel of "make test".
L ?= intel
K ?= plain
DEMO ?= vfio-dma-demo

S := scripts
FRAGMENTS := $(S)/config/base.config $(S)/config/ours.config
kernels := $(O)/kernel $(O)/kernel-debug $(O)/stock/kernel
image-plain := $(O)/kernel.cpio
image-debug := $(O)/kernel-debug.cpio
image-stock := $(O)/stock/kernel.cpio

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help run check check-lint series check-series test shell tree kernel kernel-debug stock-kernel
.PHONY: images bench deps clean FORCE

help:
	@cat $(S)/help.txt

run: $(O)/kernel.cpio
	@$(S)/boot --out $(O) --job run --show $(DEMO)

check: images
	@$(S)/check --out $(O)

test: $(image-$(K))
	@$(S)/boot --out $(O) --kernel $(K) --lane $(L) $(if $(TIMEOUT),--timeout $(TIMEOUT)) $(T)

shell: $(O)/kernel.cpio
	@$(S)/boot --out $(O) --lane $(L) --job shell

bench: $(image-stock) $(image-plain)
	@$(S)/bench $(O)

check-lint: $(O)/tree.stamp
	@$(S)/lint $(O)

series: $(O)/tree.stamp
	@$(S)/mkseries $(O)

check-series: $(O)/tree.stamp
	@$(S)/mkseries $(O) --build

tree: $(O)/tree.stamp
kernel: $(O)/kernel/.built
kernel-debug: $(O)/kernel-debug/.built
stock-kernel: $(O)/stock/kernel/.built
images: $(image-plain) $(image-debug)

deps:
	@$(S)/deps

$(KSRC_TARBALL): | deps

# The base, unpacked once for each tarball.
$(O)/base.stamp: $(KSRC_TARBALL)
	@mkdir -p $(O)
	@$(S)/step "unpacking the base kernel" $(O)/log/unpack.log $(S)/unpack $(KSRC_TARBALL) $(O)
	@touch $@

# Always assembled, cheaply; the stamp changes only when the tree did.
$(O)/tree.stamp: $(O)/base.stamp FORCE | deps
	@$(S)/assemble $(O)
$(O)/tree-kernel.stamp: $(O)/tree.stamp ;

define build-kernel
	@$(S)/step "building the $(1) kernel" $(O)/log/$(subst /,-,$(@D:$(O)/%=%)).log $(S)/kernel $(2) $(@D) $(filter %.config,$^)
	@touch $@
endef

$(O)/kernel/.built: $(O)/tree-kernel.stamp $(FRAGMENTS) $(S)/kernel
	$(call build-kernel,plain,$(O)/tree)
$(O)/kernel-debug/.built: $(O)/tree-kernel.stamp $(FRAGMENTS) $(S)/config/debug.config $(S)/kernel
	$(call build-kernel,debug,$(O)/tree)
$(O)/stock/kernel/.built: $(O)/base.stamp $(S)/config/base.config $(S)/kernel | deps
	@$(S)/assemble $(O) --stock
	$(call build-kernel,stock,$(O)/stock/tree)

$(O)/headers.stamp: $(O)/tree-kernel.stamp $(S)/headers
	@$(S)/step "exporting the kernel's headers" $(O)/log/headers.log $(S)/headers $(O)/tree $(O)/headers
	@touch $@

$(O)/programs.stamp: $(O)/tree.stamp $(O)/headers.stamp $(S)/programs $(wildcard $(S)/guest/*)
	@$(S)/step "building the guest's programs" $(O)/log/programs.log $(S)/programs $(O)/tree $(O)/headers $(O)/programs
	@touch $@

$(kernels:%=%.cpio): %.cpio: %/.built $(O)/programs.stamp $(S)/image $(S)/splats.conf
	@$(S)/image $(O)/programs $* $@

clean:
	rm -rf $(O)

FORCE:
