/**
 * One mailbox per record per process: events of one record are decided one after the other here, so that this process
 * never conflicts with itself. Other processes are told apart by the version.
 */
export type Mailboxes = {
  run<T>(record: string, turn: () => Promise<T>): Promise<T>
  size(): number
}

export const createMailboxes = (): Mailboxes => {
  const tails = new Map<string, Promise<unknown>>()
  return {
    run(record, turn) {
      const before = tails.get(record)
      const mine = before ? before.then(turn, turn) : turn()
      tails.set(record, mine)
      const leave = () => {
        if (tails.get(record) === mine) tails.delete(record)
      }
      mine.then(leave, leave)
      return mine
    },
    size: () => tails.size,
  }
}
