#!/usr/bin/env node
/** The command line: runs the command that was typed, and ends with its exit code. */
import '../base/sure-exit.js'
import { CommandError, ExitCode } from './client.js'
import { makeProgram } from './program.js'

// A reader that has seen enough, such as head(1), is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? ExitCode.OK : ExitCode.FAILED)
})

makeProgram()
  .parseAsync()
  .catch((error: unknown) => {
    const isKnown = error instanceof CommandError || (error instanceof Error && 'code' in error)
    console.error(isKnown ? `ringpath: ${error.message}` : error)
    // Not only noted: a stream that is still open would keep the process.
    process.exit(error instanceof CommandError ? error.exitCode : ExitCode.FAILED)
  })
