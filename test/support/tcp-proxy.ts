/**
 * A TCP proxy in front of MongoDB that understands just enough of the wire protocol to lose the reply of a chosen
 * command: the server has done it, and the client never hears of it. Connect through it with `directConnection=true`.
 */
import { createServer, connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

type Loss = { command: string; left: number; cut: boolean; onLost: (() => Promise<void> | void) | undefined }

export type TcpProxy = {
  url: string
  /**
   * Loses the replies of the next `times` commands named so (`update`, `insert`, `find`, …). With `cut` the connection
   * ends, without it the client waits. `onLost` runs when the server has answered, before the client can notice.
   */
  loseReplies(command: string, times: number, options?: { cut?: boolean; onLost?: () => Promise<void> | void }): void
  /** How many replies were lost so far. */
  lost(): number
  /** Refuses new connections and ends the present ones, until `restore`. */
  sever(): void
  restore(): void
  close(): Promise<void>
}

const HEADER_BYTES = 16
const OP_MSG = 2013

/** Cuts a byte stream into wire messages: each begins with its own length. */
const byMessage = (onMessage: (message: Buffer) => void) => {
  let held = Buffer.alloc(0)
  return (part: Buffer): void => {
    held = Buffer.concat([held, part])
    while (held.length >= 4 && held.length >= held.readInt32LE(0)) {
      const length = held.readInt32LE(0)
      onMessage(held.subarray(0, length))
      held = held.subarray(length)
    }
  }
}

/** The name of an OP_MSG's command: the first field of its body section. */
const commandOf = (message: Buffer): string | null => {
  if (message.readInt32LE(12) !== OP_MSG) return null
  const nameAt = HEADER_BYTES + 4 + 1 + 4 + 1
  return message.toString('latin1', nameAt, message.indexOf(0, nameAt))
}

export const startTcpProxy = async (target: string): Promise<TcpProxy> => {
  const { hostname, port, pathname } = new URL(target)
  const losses: Loss[] = []
  const open = new Set<Socket>()
  let lostTotal = 0
  let severed = false

  const lossFor = (command: string | null): Loss | undefined =>
    losses.find((loss) => loss.left > 0 && loss.command === command)

  const lose = (loss: Loss, client: Socket): void => {
    loss.left -= 1
    lostTotal += 1
    void (async () => {
      await loss.onLost?.()
      if (loss.cut) client.destroy()
    })()
  }

  const server = createServer((client) => {
    if (severed) return void client.destroy()
    const upstream = connect({ host: hostname, port: Number(port) })
    const commands = new Map<number, string | null>()
    const end = (): void => {
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.on('error', end)
      socket.on('close', () => {
        open.delete(socket)
        end()
      })
    }
    client.on(
      'data',
      byMessage((message) => {
        commands.set(message.readInt32LE(4), commandOf(message))
        upstream.write(message)
      }),
    )
    upstream.on(
      'data',
      byMessage((message) => {
        const request = message.readInt32LE(8)
        const command = commands.get(request) ?? null
        commands.delete(request)
        const loss = lossFor(command)
        if (loss) lose(loss, client)
        else client.write(message)
      }),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address() as AddressInfo
  return {
    url: `mongodb://127.0.0.1:${address.port}${pathname}?directConnection=true`,
    loseReplies: (command, times, { cut = true, onLost } = {}) =>
      void losses.push({ command, left: times, cut, onLost }),
    lost: () => lostTotal,
    sever() {
      severed = true
      for (const socket of open) socket.destroy()
    },
    restore() {
      severed = false
    },
    async close() {
      for (const socket of open) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
