/// How long the oldest open transaction that writes has been seen, anywhere on the server: its events wait for its end.
struct OpenTransaction {
    private var oldest: Substring = ""
    private var seenSince: ContinuousClock.Instant?

    /// - Parameter snapshot: a `pg_snapshot` in text: xmin, xmax, and those between them that are open, the oldest of
    ///   which is xmin.
    mutating func observe(_ snapshot: String, at now: ContinuousClock.Instant) {
        let parts = snapshot.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 3, !parts[2].isEmpty else {
            seenSince = nil
            return
        }
        if seenSince == nil || parts[0] != oldest {
            oldest = parts[0]
            seenSince = now
        }
    }

    /// Zero when there is none.
    func age(at now: ContinuousClock.Instant) -> Duration {
        seenSince.map { $0.duration(to: now) } ?? .zero
    }
}
