/** Whole seconds until a moment, told again as they pass. */
export function secondsUntil(moment: () => number): { readonly left: number } {
  let left = $state(0)
  $effect(() => {
    const until = moment()
    const update = () => (left = Math.max(0, Math.ceil((until - Date.now()) / 1000)))
    update()
    const timer = setInterval(update, 250)
    return () => clearInterval(timer)
  })
  return {
    get left() {
      return left
    },
  }
}
