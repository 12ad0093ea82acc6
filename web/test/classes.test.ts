import { beforeEach, describe, expect, it } from 'vitest'
import type { SessionClass } from '../src/lib/api/types'
import { classes } from '../src/lib/state/classes.svelte'

const kind = (name: string, available: boolean, isDefault = false) => ({ name, available, default: isDefault }) as SessionClass

describe('what a new session may be', () => {
  beforeEach(() => (classes.list = []))

  it('is no choice when only the default can be had', () => {
    expect(classes.choice).toBe(false)
    classes.list = [kind('standard', true, true), kind('hardened', false)]
    expect(classes.choice).toBe(false)
    expect(classes.first?.name).toBe('standard')
  })

  it('is a choice when there is another', () => {
    classes.list = [kind('ci', true), kind('standard', true, true)]
    expect(classes.choice).toBe(true)
    expect(classes.first?.name).toBe('standard')
  })

  it('is the other when the default cannot be had', () => {
    classes.list = [kind('standard', false, true), kind('hardened', false), kind('ci', true)]
    expect(classes.choice).toBe(true)
    expect(classes.first?.name).toBe('ci')
  })

  it('is the default, which says why, when nothing can be had', () => {
    classes.list = [kind('standard', false, true)]
    expect(classes.choice).toBe(false)
    expect(classes.first?.name).toBe('standard')
  })
})
