/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow's number is in its ports, 14 bits in the source port and the rest in the destination port,
 * as bench/lib/two-pods.ts has them and as the generator sends them.
 */
#pragma once

#define SOURCE_PORT_FIRST 1024
#define SOURCE_PORTS 16384
#define DESTINATION_PORT_FIRST 5120
