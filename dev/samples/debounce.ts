/** Calls `fn` once, `ms` milliseconds after the last call. */
export function debounce<T extends unknown[]>(fn: (...args: T) => void, ms: number) {
  let timer: ReturnType<typeof setTimeout> | undefined
  return (...args: T) => {
    ‸
  }
}
