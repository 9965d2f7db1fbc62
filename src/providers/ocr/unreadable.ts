/** An input that can never be read. The message says what is wrong with the file, never what is in it. */
export class UnreadableInput extends Error {
  readonly code: 'unreadable-input' | 'input-too-large'
  constructor(message: string, code: 'unreadable-input' | 'input-too-large' = 'unreadable-input') {
    super(message)
    this.code = code
  }
}
