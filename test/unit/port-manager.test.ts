/** The port manager over devices that only note what is done to them: the table is what it must agree with. */
import t from 'tap'
import { type DevicePorts, PortManager } from '../../src/engine/port-manager.js'
import { ArrayMap } from '../../src/maps/array-map.js'
import { PORTS_SPEC, PortMode, PortStatus, PortTable } from '../../src/port/port-table.js'

const BUSY = 16

/** A device is on one port at most, as in the kernel. */
class Devices implements DevicePorts {
  readonly done: string[] = []
  readonly #deviceOf = new Map<number, string>()

  attach(port: number, device: string, mode: string) {
    if ([...this.#deviceOf.values()].includes(device)) {
      throw Object.assign(new Error(`${device} is busy`), { errno: BUSY })
    }
    this.#deviceOf.set(port, device)
    this.done.push(`attach ${port} ${device} ${mode}`)
    return { isNative: true, isZeroCopy: true }
  }

  detach(port: number): void {
    this.done.push(`detach ${port} ${this.#deviceOf.get(port)}`)
    this.#deviceOf.delete(port)
  }

  lostPorts(): readonly number[] {
    return []
  }
}

function oneWorker() {
  const buffer = new SharedArrayBuffer(ArrayMap.bytesFor(PORTS_SPEC))
  const table = new PortTable(ArrayMap.create(PORTS_SPEC, buffer))
  const devices = new Devices()
  const manager = new PortManager(table, devices, () => {})
  const report = (port: number) => table.report(port, process.pid)
  return { table, devices, manager, report }
}

const ATTACHED = { status: PortStatus.ATTACHED, isNative: true, isZeroCopy: true, errno: 0 }

t.test('a port that is taken away and asked for at once is told as attached again', async (t) => {
  const { table, devices, manager, report } = oneWorker()
  table.request(3, 'lxc-a', PortMode.POD)
  manager.step(1)
  t.same(report(3), ATTACHED)
  table.release(3)
  table.request(3, 'lxc-a', PortMode.POD)
  t.equal(report(3).status, PortStatus.DETACHED)
  manager.step(1)
  t.same(report(3), ATTACHED)
  t.same(devices.done, ['attach 3 lxc-a pod'], 'its sockets stay')
})

t.test('so is one that came from the process before', async (t) => {
  const { table, devices, manager, report } = oneWorker()
  table.request(3, 'lxc-a', PortMode.POD)
  const made = { isNative: true, isZeroCopy: true }
  manager.adopt(3, 'lxc-a', 'pod', made)
  manager.step(1)
  t.same(report(3), ATTACHED)
  t.same(devices.done, [])
})

t.test('a device that is asked for in the other mode is attached anew', async (t) => {
  const { table, devices, manager, report } = oneWorker()
  table.request(3, 'eth0', PortMode.POD)
  manager.step(1)
  table.release(3)
  table.request(3, 'eth0', PortMode.UPLINK)
  manager.step(1)
  t.same(devices.done, ['attach 3 eth0 pod', 'detach 3 eth0', 'attach 3 eth0 uplink'])
  t.same(report(3), ATTACHED)
})

t.test('a device may move to another port, lower or higher, in one look', async (t) => {
  for (const [from, to] of [
    [5, 3],
    [3, 5],
  ] as const) {
    const { table, devices, manager, report } = oneWorker()
    table.request(from, 'lxc-a', PortMode.POD)
    manager.step(1)
    table.release(from)
    table.request(to, 'lxc-a', PortMode.POD)
    manager.step(1)
    const moved = [`attach ${from} lxc-a pod`, `detach ${from} lxc-a`, `attach ${to} lxc-a pod`]
    t.same(devices.done, moved)
    t.same(report(to), ATTACHED)
    t.equal(report(from).status, PortStatus.DETACHED)
  }
})
