package import FoundationEssentials

/// The three days that a ranking counts, up to a moment.
package struct RankingWindow: Hashable, Sendable {
    /// Where the three days begin.
    package enum Mode: String, CaseIterable, Sendable {
        /// 72 hours before the full hour: the window gains up to an hour, and loses it at once.
        case rolling
        /// 72 hours before its end, exactly.
        case minute
        /// With the day before yesterday in Seoul: that day, yesterday, and today so far.
        case calendar
    }

    package let mode: Mode
    /// The first moment that counts.
    package let from: Date
    /// The last moment that counts.
    package let to: Date

    /// The window that ends at a time.
    package init(_ mode: Mode, endingAt to: Date) {
        let (hour, day) = (RankingWindow.hour, 24 * RankingWindow.hour)
        let from =
            switch mode {
            case .rolling: to.floored(to: hour) - 3 * day
            case .minute: to - 3 * day
            case .calendar: to.floored(to: day, offset: RankingWindow.seoulOffset) - 2 * day
            }
        self.init(mode, from: from, to: to)
    }

    /// A window as it was saved.
    package init(_ mode: Mode, from: Date, to: Date) {
        self.mode = mode
        self.from = from
        self.to = to
    }

    /// The UTC hour in which it begins.
    package var firstHour: Date { from.floored(to: RankingWindow.hour) }
    /// The UTC hour after the one in which it ends.
    package var endHour: Date { to.floored(to: RankingWindow.hour) + RankingWindow.hour }

    private static let hour: TimeInterval = 3_600
    /// Korea has had no daylight-saving time since 1988, so that its days are made of whole UTC hours.
    private static let seoulOffset: TimeInterval = 9 * hour
}

extension Date {
    /// The last multiple of `step` seconds that is not after this time, on a clock that is `offset` ahead of UTC.
    fileprivate func floored(to step: TimeInterval, offset: TimeInterval = 0) -> Date {
        let seconds = timeIntervalSince1970 + offset
        return Date(timeIntervalSince1970: (seconds / step).rounded(.down) * step - offset)
    }
}
