/** The CPU time of this process so far, in milliseconds. Other processes of a busy machine do not add to it. */
export function cpuMilliseconds() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
