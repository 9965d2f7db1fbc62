/** A worker as its supervisor sees it: says that it is ready, and ends as it is told. */
const [mode] = process.argv.slice(2)
if (mode === 'broken') process.exit(7)
if (mode === 'misconfigured') process.exit(2)
process.on('disconnect', () => process.exit(0))
if (mode === 'stubborn') process.on('SIGTERM', () => undefined)
process.send('ready')
setInterval(() => undefined, 1_000)
