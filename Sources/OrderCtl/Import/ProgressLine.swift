import Operations

/// How far a long command has come, on standard error: a bar on a terminal, otherwise a line every few seconds.
struct ProgressLine {
    private static let barWidth = 30
    /// Between two lines where there is no terminal.
    private static let pause = Duration.seconds(5)

    private let start = ContinuousClock.now
    private var lastShown = ContinuousClock.now
    private var isOpen = false

    /// Shows where it is.
    ///
    /// - Parameters:
    ///   - share: 0 to 1.
    ///   - count: how many things are done, for the speed.
    mutating func show(share: Double, count: Int, of things: String) {
        let now = ContinuousClock.now
        guard Console.showsProgress || now - lastShown >= Self.pause else { return }
        lastShown = now
        let seconds = max((now - start) / .seconds(1), 0.001)
        let (share, speed) = (min(max(share, 0), 1), Int(Double(count) / seconds))
        let left = share > 0 ? Int(seconds / share - seconds) : 0
        let done = "\(grouped(count)) \(things), \(grouped(speed))/s, \(left) s left"
        let percent = "\(Int(share * 100)) %"
        if Console.showsProgress {
            let filled = Int(share * Double(Self.barWidth))
            let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: Self.barWidth - filled)
            Console.note("\r\(bar) \(percent)  \(done)\u{1B}[K")
            isOpen = true
        } else {
            Console.note("\(percent)  \(done)\n")
        }
    }

    /// Leaves the bar as it is, and goes to the next line.
    mutating func end() {
        if isOpen { Console.note("\n") }
        isOpen = false
    }
}
