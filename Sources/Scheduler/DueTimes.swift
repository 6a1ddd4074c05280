import Foundation

/// What is to be done about a job's times at one moment.
enum Due: Equatable, Sendable {
    /// Nothing before this moment.
    case later(Date)
    /// Nothing ever again: the calendar ends.
    case never
    /// A run is to be started for this time; it stands for so many earlier times too.
    case run(Date, missed: Int)
    /// It is too late for so many times, of which this is the last.
    case missed(Date, count: Int)
}

extension Job {
    /// How late a run may be with `misfire = "skip"` and no deadline of its own.
    private static let skipDeadline = Duration.seconds(60)
    /// How many times are looked at in one step; a longer outage takes several.
    static let longestStep = 10_000

    /// What is to be done at `now` when all times up to `settled` have come to something.
    ///
    /// A time is due once its jitter has passed as well, and late from then on. There is no number of missed times
    /// after which a job would not start again.
    func due(after settled: Date, at now: Date) -> Due {
        guard let first = next(after: settled) else { return .never }
        guard start(of: first) <= now else { return .later(start(of: first)) }
        switch misfire {
        case .all:
            guard isTooLate(first, at: now) else { return .run(first, missed: 0) }
            let late = walk(from: first) { isTooLate($0, at: now) }
            return .missed(late.last, count: late.count)
        case .coalesce, .skip:
            let due = walk(from: first) { start(of: $0) <= now }
            if due.isCut || isTooLate(due.last, at: now) {
                return .missed(due.last, count: due.count)
            }
            if misfire == .skip, let before = due.before { return .missed(before, count: due.count - 1) }
            return .run(due.last, missed: due.count - 1)
        }
    }

    /// When a run is started: its time and a part of the jitter, the same part whoever asks.
    func start(of time: Date) -> Date {
        let jitterMilliseconds = UInt64(jitter / .milliseconds(1))
        guard jitterMilliseconds > 0 else { return time }
        // FNV-1a of the run's identity.
        let hash = "\(name)@\(Int64(time.timeIntervalSince1970))".utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01B3
        }
        return time + Double(hash % (jitterMilliseconds + 1)) / 1_000
    }

    private func isTooLate(_ time: Date, at now: Date) -> Bool {
        guard let limit = startingDeadline ?? (misfire == .skip ? Self.skipDeadline : nil) else { return false }
        return now.timeIntervalSince(start(of: time)) > limit / .seconds(1)
    }

    /// The times from `first` on for which the condition holds, cut after ``longestStep``.
    private func walk(
        from first: Date,
        while holds: (Date) -> Bool
    ) -> (last: Date, before: Date?, count: Int, isCut: Bool) {
        var (last, before, count) = (first, Date?.none, 1)
        while let time = next(after: last), holds(time) {
            if count == Self.longestStep { return (last, before, count, true) }
            (last, before, count) = (time, last, count + 1)
        }
        return (last, before, count, false)
    }
}
