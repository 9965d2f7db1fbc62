// Brings up the embedded stack of dist/ as a process of its own: `node stack-child.mjs '<StackOptions as JSON>'`.
// Prints one JSON line when it is up, or when it can't come up; stops the stack on SIGTERM.
import { startStack } from '../../dist/embedded/stack.js'

const options = JSON.parse(process.argv[2])
const messages = []
try {
  const stack = await startStack({ ...options, log: (rung, message) => messages.push(`${rung}: ${message}`) })
  // The servers are in sessions of their own, and nothing else keeps this process.
  const alive = setInterval(() => undefined, 1 << 30)
  const stop = async () => {
    await stack.stop()
    clearInterval(alive)
    console.log(JSON.stringify({ stopped: true }))
  }
  process.once('SIGTERM', () => void stop())
  console.log(JSON.stringify({ up: stack.describe(), messages }))
} catch (error) {
  console.log(JSON.stringify({ failed: { code: error.code, message: error.message, pid: error.pid }, messages }))
  process.exitCode = 1
}
