import Operations

/// How far it is, on a terminal's standard error; nothing elsewhere.
struct ProgressBar {
    private static let width = 30
    private static let interval = Duration.milliseconds(100)

    private var total = 0
    private var done = 0
    private var start = ContinuousClock.now
    private var shownAt: ContinuousClock.Instant?

    mutating func show(_ progress: RedriveRun.Progress) {
        switch progress {
        case .began(let total): begin(of: total)
        case .advanced(let count): advance(by: count)
        case .ended: end()
        }
    }

    /// Begins; `total` is the most that there can be.
    private mutating func begin(of total: Int) {
        self.total = total
        start = .now
    }

    private mutating func advance(by count: Int) {
        done += count
        let now = ContinuousClock.now
        guard Console.showsProgress, total > 0, shownAt.map({ $0.duration(to: now) > Self.interval }) ?? true else {
            return
        }
        shownAt = now
        Console.note("\r\(line(at: now))\u{1B}[K")
    }

    /// Removes the line.
    private func end() {
        if shownAt != nil { Console.note("\r\u{1B}[K") }
    }

    private func line(at now: ContinuousClock.Instant) -> String {
        let share = min(1, Double(done) / Double(total))
        let full = Int(share * Double(Self.width))
        let seconds = start.duration(to: now) / .seconds(1)
        let rate = seconds > 0 ? Double(done) / seconds : 0
        let rest = rate > 0 ? Double(total - done) / rate : 0
        return String(repeating: "█", count: full) + String(repeating: "░", count: Self.width - full)
            + " \(grouped(done)) of \(grouped(total))  \(grouped(Int(rate))) a second  "
            + "\(spoken(seconds: max(0, rest))) left"
    }
}
