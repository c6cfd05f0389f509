/** The words that a datapath's main thread shares with its workers. */
import t from 'tap'
import { CONTROL_WORDS, Control, stopWorker } from '../../src/engine/control.js'

/** Of a file that nobody has open. */
const CLOSED_FD = 900_000

t.test(
  'a worker that ended by itself, and closed what wakes it, is told to stop without harm',
  async (t) => {
    const control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4))
    Atomics.store(control, Control.WAKE_FD, CLOSED_FD)
    t.doesNotThrow(() => stopWorker(control))
    t.equal(Atomics.load(control, Control.STOP), 1)
  },
)
