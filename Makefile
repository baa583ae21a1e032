# SPDX-License-Identifier: GPL-2.0
# The verbs of the repository; "make help" lists them. Each is a short script
# in scripts/. Everything made lands in $(O), nothing in the clone beside it.

O ?= build
KSRC_TARBALL ?= /usr/src/linux-source-6.1.tar.xz
# What "make bench" compares with, beside the base itself.
PEER_TARBALL ?= /usr/src/linux-source-6.12.tar.xz
override O := $(abspath $(O))

# The lane and the kernel of "make test".
L ?= intel
K ?= plain
DEMO ?= vfio-dma-demo

S := scripts
# "make test" and "make run" need one kernel: that of the lane's architecture.
arch := $(shell sed -n '/^\[$(L)\]/,/^\[/s/^arch = "\(.*\)"/\1/p' $(S)/lanes.toml)
image-plain-x86 := $(O)/kernel.cpio
image-debug-x86 := $(O)/kernel-debug.cpio
image-stock-x86 := $(O)/stock/kernel.cpio
image-peer-x86 := $(O)/peer/kernel.cpio
image-plain-arm64 := $(O)/kernel-arm64.cpio
image-debug-arm64 := $(O)/kernel-debug-arm64.cpio
image-stock-arm64 := $(O)/stock/kernel-arm64.cpio
image-peer-arm64 := $(O)/peer/kernel-arm64.cpio
images-x86 := $(image-peer-x86) $(image-plain-x86) $(image-debug-x86) $(image-stock-x86)
images-arm64 := $(image-peer-arm64) $(image-plain-arm64) $(image-debug-arm64) $(image-stock-arm64)
# What "make check" boots; the lanes' "kernels" in lanes.toml say on what.
checked := $(image-plain-x86) $(image-debug-x86) $(image-plain-arm64)
# "make bench" wants three kernels of each architecture that its lanes have; all are those
# that are not like another.
bench-lanes := $(if $(filter all,$(L)),$(shell sed -n '/^\[/h;/^required/{x;s/[][]//gp}' $(S)/lanes.toml),$(L))
bench-arches := $(sort $(if $(filter all,$(L)),x86 arm64,$(arch)))
bench-images := $(foreach a,$(bench-arches),$(image-plain-$a) $(image-stock-$a) $(image-peer-$a))
lane-image = $(or $(image-$(K)-$(arch)),$(error no lane "$(L)" or no kernel "$(K)"))

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDEXPANSION:
.PHONY: help run check check-lint check-abi check-consumers check-lsiommu series check-series test shell tree kernel kernel-debug stock-kernel
.PHONY: images kernel-arm64 stock-kernel-arm64 bench events plot profile deps clean FORCE

help:
	@cat $(S)/help.txt

run: $$(lane-image)
	@$(S)/boot --out $(O) --kernel $(K) --lane $(L) --job run --show $(DEMO)

check: images
	@$(S)/check --out $(O)

test: $$(lane-image)
	@$(S)/boot --out $(O) --kernel $(K) --lane $(L) $(if $(TIMEOUT),--timeout $(TIMEOUT)) $(T)

shell: $$(lane-image)
	@$(S)/boot --out $(O) --kernel $(K) --lane $(L) --job shell

bench: $(bench-images)
	@$(S)/bench $(O) $(bench-lanes)

events: $(bench-images)
	@$(S)/events $(O) $(bench-lanes)

# The figure in the documentation, from what "make bench" left; it lands in the clone.
plot:
	@$(S)/plot $(O)/bench Documentation/driver-api

# I: the interface; F: functions whose instructions are to be listed.
I ?= iommufd
profile: $$(lane-image)
	@$(S)/profile $(O) $(L) $(K) $(I) $(or $(ROW),$(error say which row: ROW=memory,size)) $(F)

check-abi: $(O)/headers.stamp
	@$(S)/abi $(O)

check-lsiommu:
	@$(S)/lsiommu $(O)

check-lint: $(O)/tree.stamp
	@$(S)/lint $(O)

check-consumers: $(image-plain-x86) $(image-plain-arm64)
	@$(S)/consumers --out $(O) $(if $(ONLY),--only $(ONLY))

series: $(O)/tree.stamp
	@$(S)/mkseries $(O)

check-series: $(O)/tree.stamp
	@$(S)/mkseries $(O) --build

tree: $(O)/tree.stamp
kernel: $(O)/kernel/.built
kernel-arm64: $(O)/kernel-arm64/.built
kernel-debug: $(O)/kernel-debug/.built
stock-kernel: $(O)/stock/kernel/.built
stock-kernel-arm64: $(O)/stock/kernel-arm64/.built
images: $(checked)

deps:
	@$(S)/deps

$(KSRC_TARBALL): | deps

# The base, unpacked once for each tarball.
$(O)/base.stamp: $(KSRC_TARBALL)
	@mkdir -p $(O)
	@$(S)/step "unpacking the base kernel" $(O)/log/unpack.log $(S)/unpack $(KSRC_TARBALL) $(O) 6.1
	@touch $@
$(PEER_TARBALL): | deps
$(O)/peer/base.stamp: $(PEER_TARBALL)
	@mkdir -p $(O)/peer
	@$(S)/step "unpacking the peer kernel" $(O)/log/unpack-peer.log $(S)/unpack $(PEER_TARBALL) $(O)/peer 6.12
	@touch $@

# Always assembled, cheaply; the stamp changes only when the tree did.
$(O)/tree.stamp: $(O)/base.stamp FORCE | deps
	@$(S)/assemble $(O)
$(O)/tree-kernel.stamp: $(O)/tree.stamp ;

# $(call build-kernel,title,architecture,tree)
define build-kernel
	@$(S)/step "building the $(1) kernel" $(O)/log/$(subst /,-,$(@D:$(O)/%=%)).log $(S)/kernel $(2) $(3) $(@D) $(filter %.config,$^)
	@touch $@
endef

built := $(S)/kernel $(S)/arch.sh
x86 := $(S)/config/base.config $(S)/config/x86.config
arm64 := $(S)/config/base.config $(S)/config/arm64.config
ours := $(S)/config/ours.config

$(O)/kernel/.built: $(O)/tree-kernel.stamp $(x86) $(ours) $(built)
	$(call build-kernel,plain,x86,$(O)/tree)
$(O)/kernel-debug/.built: $(O)/tree-kernel.stamp $(x86) $(ours) $(S)/config/debug.config $(S)/config/debug-x86.config $(built)
	$(call build-kernel,debug,x86,$(O)/tree)
$(O)/kernel-arm64/.built: $(O)/tree-kernel.stamp $(arm64) $(ours) $(built)
	$(call build-kernel,plain arm64,arm64,$(O)/tree)
$(O)/kernel-debug-arm64/.built: $(O)/tree-kernel.stamp $(arm64) $(ours) $(S)/config/debug.config $(built)
	$(call build-kernel,debug arm64,arm64,$(O)/tree)
$(O)/stock/tree.stamp: $(O)/base.stamp | deps
	@$(S)/assemble $(O) --stock
	@touch $@
$(O)/stock/kernel/.built: $(O)/stock/tree.stamp $(x86) $(built)
	$(call build-kernel,stock,x86,$(O)/stock/tree)
$(O)/stock/kernel-arm64/.built: $(O)/stock/tree.stamp $(arm64) $(built)
	$(call build-kernel,stock arm64,arm64,$(O)/stock/tree)
# Configured by the same fragments, but for what became a choice, or none, since.
peer := $(S)/config/peer.config
$(O)/peer/%: export MAY_DIFFER := CONFIG_RANDOM_TRUST_CPU CONFIG_VFIO_MDEV
$(O)/peer/kernel/.built: $(O)/peer/base.stamp $(x86) $(peer) $(built)
	$(call build-kernel,peer,x86,$(O)/peer/base)
$(O)/peer/kernel-arm64/.built: $(O)/peer/base.stamp $(arm64) $(peer) $(built)
	$(call build-kernel,peer arm64,arm64,$(O)/peer/base)

# $(call export-headers,architecture), $(call build-programs,architecture,headers)
define export-headers
	@$(S)/step "exporting the kernel's headers for $(1)" $(O)/log/$(@F:.stamp=).log $(S)/headers $(1) $(O)/tree $(@:.stamp=)
	@touch $@
endef
define build-programs
	@$(S)/step "building the guest's programs for $(1)" $(O)/log/$(@F:.stamp=).log $(S)/programs $(1) $(O)/tree $(2) $(@:.stamp=)
	@touch $@
endef
programs := $(S)/programs $(S)/arch.sh $(wildcard $(S)/guest/*.c)

$(O)/headers.stamp: $(O)/tree-kernel.stamp $(S)/headers $(S)/arch.sh
	$(call export-headers,x86)
$(O)/headers-arm64.stamp: $(O)/tree-kernel.stamp $(S)/headers $(S)/arch.sh
	$(call export-headers,arm64)
$(O)/programs.stamp: $(O)/tree.stamp $(O)/headers.stamp $(programs)
	$(call build-programs,x86,$(O)/headers)
$(O)/programs-arm64.stamp: $(O)/tree.stamp $(O)/headers-arm64.stamp $(programs)
	$(call build-programs,arm64,$(O)/headers-arm64)

$(images-x86): %.cpio: %/.built $(O)/programs.stamp $(S)/image $(S)/splats.conf
	@$(S)/image x86 $(O)/programs $* $@
$(images-arm64): %.cpio: %/.built $(O)/programs-arm64.stamp $(S)/image $(S)/splats.conf
	@$(S)/image arm64 $(O)/programs-arm64 $* $@

clean:
	rm -rf $(O)

FORCE:
