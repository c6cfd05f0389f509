// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The shortest ways from one device to another inside the kernel: tc's bpf_redirect and
 * bpf_redirect_peer (bpf-helpers(7)), and XDP_REDIRECT through a devmap. Every frame takes it, with
 * nothing looked up and nothing changed.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

/* The only object in .rodata, set before loading. */
const volatile __u32 out_device;

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

SEC("tc")
int redirect(struct __sk_buff *skb)
{
	(void)skb;
	return (int)bpf_redirect(out_device, 0);
}

SEC("tc")
int redirect_peer(struct __sk_buff *skb)
{
	(void)skb;
	return (int)bpf_redirect_peer(out_device, 0);
}

SEC("xdp")
int devmap(struct xdp_md *ctx)
{
	(void)ctx;
	return (int)bpf_redirect_map(&devices, 0, XDP_DROP);
}

char _license[] SEC("license") = "Dual BSD/GPL";
