/**
 * Removes one lab run when the process that made it dies without a chance to do so itself (kill
 * -9): a detached process that holds the other end of a pipe and sees it close. Started by
 * `Lab.create` as `node janitor.js <run id>`.
 */
import { removeRun } from './run-record.js'

const id = process.argv[2]
if (id === undefined) throw new Error('usage: janitor.js <run id>')

/** What the dead one's last programs make until then, such as a namespace, is found. */
const LAST_WORK_MILLISECONDS = 500
const removeLater = () => setTimeout(() => removeRun(id), LAST_WORK_MILLISECONDS)

// A Ctrl-C in the terminal goes to the lab's process; its end is what counts here.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => undefined)
process.stdin.on('end', removeLater)
process.stdin.on('error', removeLater)
process.stdin.resume()
