/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What happens to I/O address spaces
 *
 * A space is known by its number, which iopt_init() gave it. IOVA ranges are
 * inclusive; of an automatic choice that was refused they mean nothing. Memory
 * is pinned on behalf of a mapping, whose range stands for it; what several
 * mappings share is pinned with one of them and unpinned with the last.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM io_pagetable

#if !defined(_TRACE_IO_PAGETABLE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_IO_PAGETABLE_H

#include <linux/io_pagetable.h>
#include <linux/iommu.h>
#include <linux/tracepoint.h>

TRACE_EVENT(iopt_map,
	    TP_PROTO(const struct io_pagetable *iopt, u64 start, u64 last,
		     int prot, int ret),
	    TP_ARGS(iopt, start, last, prot, ret),
	    TP_STRUCT__entry(__field(u32, space)
			     __field(u64, start)
			     __field(u64, last)
			     __field(int, prot)
			     __field(int, ret)),
	    TP_fast_assign(__entry->space = iopt->id;
			   __entry->start = start;
			   __entry->last = last;
			   __entry->prot = prot;
			   __entry->ret = ret;),
	    TP_printk("space=%u iova=0x%llx-0x%llx prot=%s ret=%d",
		      __entry->space, __entry->start, __entry->last,
		      __print_flags(__entry->prot, "|", { IOMMU_READ, "r" },
				    { IOMMU_WRITE, "w" }),
		      __entry->ret)
);

TRACE_EVENT(iopt_unmap,
	    TP_PROTO(const struct io_pagetable *iopt, u64 start, u64 last,
		     u64 bytes, int ret),
	    TP_ARGS(iopt, start, last, bytes, ret),
	    TP_STRUCT__entry(__field(u32, space)
			     __field(u64, start)
			     __field(u64, last)
			     __field(u64, bytes)
			     __field(int, ret)),
	    TP_fast_assign(__entry->space = iopt->id;
			   __entry->start = start;
			   __entry->last = last;
			   __entry->bytes = bytes;
			   __entry->ret = ret;),
	    TP_printk("space=%u iova=0x%llx-0x%llx bytes=%llu ret=%d",
		      __entry->space, __entry->start, __entry->last,
		      __entry->bytes, __entry->ret)
);

/* The group is -1 for a domain that its owner looks after. */
TRACE_EVENT(iopt_attach,
	    TP_PROTO(const struct io_pagetable *iopt, int group, int ret),
	    TP_ARGS(iopt, group, ret),
	    TP_STRUCT__entry(__field(u32, space)
			     __field(int, group)
			     __field(int, ret)),
	    TP_fast_assign(__entry->space = iopt->id;
			   __entry->group = group;
			   __entry->ret = ret;),
	    TP_printk("space=%u group=%d ret=%d", __entry->space,
		      __entry->group, __entry->ret)
);

TRACE_EVENT(iopt_detach,
	    TP_PROTO(const struct io_pagetable *iopt, int group),
	    TP_ARGS(iopt, group),
	    TP_STRUCT__entry(__field(u32, space)
			     __field(int, group)),
	    TP_fast_assign(__entry->space = iopt->id;
			   __entry->group = group;),
	    TP_printk("space=%u group=%d", __entry->space, __entry->group)
);

TRACE_EVENT(iopt_pin,
	    TP_PROTO(const struct io_pagetable *iopt, u64 start, u64 last,
		     unsigned long npages, int ret),
	    TP_ARGS(iopt, start, last, npages, ret),
	    TP_STRUCT__entry(__field(u32, space)
			     __field(u64, start)
			     __field(u64, last)
			     __field(unsigned long, npages)
			     __field(int, ret)),
	    TP_fast_assign(__entry->space = iopt->id;
			   __entry->start = start;
			   __entry->last = last;
			   __entry->npages = npages;
			   __entry->ret = ret;),
	    TP_printk("space=%u iova=0x%llx-0x%llx pages=%lu ret=%d",
		      __entry->space, __entry->start, __entry->last,
		      __entry->npages, __entry->ret)
);

TRACE_EVENT(iopt_unpin,
	    TP_PROTO(const struct io_pagetable *iopt, u64 start, u64 last,
		     unsigned long npages),
	    TP_ARGS(iopt, start, last, npages),
	    TP_STRUCT__entry(__field(u32, space)
			     __field(u64, start)
			     __field(u64, last)
			     __field(unsigned long, npages)),
	    TP_fast_assign(__entry->space = iopt->id;
			   __entry->start = start;
			   __entry->last = last;
			   __entry->npages = npages;),
	    TP_printk("space=%u iova=0x%llx-0x%llx pages=%lu", __entry->space,
		      __entry->start, __entry->last, __entry->npages)
);

#endif /* _TRACE_IO_PAGETABLE_H */

#include <trace/define_trace.h>
