/** What a process has opened is closed, in reverse order, whenever the end comes. */
import { describe, expect, it } from 'vitest'
import { Closing, createLifetime } from '../../src/cli/lifetime.js'

const setup = () => {
  const errors: unknown[] = []
  const closed: string[] = []
  const lifetime = createLifetime((error) => errors.push(error))
  const open = (name: string, start: Promise<void> = Promise.resolve()) =>
    lifetime.open(
      async () => {
        await start
        return name
      },
      async (opened) => {
        if (opened === 'stubborn') throw new Error('does not close')
        closed.push(opened)
      },
      (opened) => closed.push(`abandoned ${opened}`),
    )
  return { errors, closed, lifetime, open }
}

describe('a lifetime', () => {
  it('closes in reverse order, once, however often it is asked', async () => {
    const { lifetime, open, closed } = setup()
    await open('a')
    await open('b')
    await Promise.all([lifetime.close(), lifetime.close()])
    expect(closed).toEqual(['b', 'a'])
  })

  it('L1 waits for what is being opened, closes it, and opens nothing more', async () => {
    const { lifetime, open, closed } = setup()
    let finish = () => {}
    await open('a')
    const opening = open('b', new Promise((resolve) => (finish = resolve)))
    const refused = expect(opening).rejects.toBeInstanceOf(Closing)
    const closing = lifetime.close()
    expect(lifetime.signal.aborted).toBe(true)
    finish()
    await Promise.all([closing, refused])
    expect(closed).toEqual(['b', 'a'])
    await expect(open('c')).rejects.toBeInstanceOf(Closing)
  })

  it('L2 reports a close that fails and goes on', async () => {
    const { lifetime, open, closed, errors } = setup()
    await open('a')
    await open('stubborn')
    await lifetime.close()
    expect([closed, String(errors[0])]).toEqual([['a'], 'Error: does not close'])
  })

  it('forgets what could not be opened', async () => {
    const { lifetime, open, closed, errors } = setup()
    await expect(open('a', Promise.reject(new Error('no')))).rejects.toThrow('no')
    await lifetime.close()
    expect([closed, errors]).toEqual([[], []])
  })

  it('L3 abandons what is open, at once', async () => {
    const { lifetime, open, closed } = setup()
    await open('a')
    lifetime.abandon()
    expect(closed).toEqual(['abandoned a'])
  })
})
