import ServiceLifecycle
import Synchronization

/// The time between the wish to stop and the stop, in which requests go elsewhere.
///
/// From SIGTERM on `/health/ready` and `/health/serving` answer 503, so that a load balancer sends nothing new, and
/// every answer says `Connection: close`; requests that still come are answered as ever. Only after the drain time the
/// server stops listening. Give it to the server and to the routes, and put it last in
/// ``ServiceProcess/run(_:logger:)``: services stop from the last to the first.
package final class Drain: Service, CustomStringConvertible {
    /// The longest drain time: it is part of ``ServiceProcess/gracefulLimit``, which leaves 3 s for all else.
    package static let maximumMs = 5_000

    private let begun = Atomic<Bool>(false)
    private let duration: Duration

    /// Creates a drain that takes so long; zero stops at once.
    package init(_ duration: Duration) {
        self.duration = duration
    }

    /// Reads `DRAIN_MS`, 0 to 5,000 ms, by default 0; throws a ``SettingsError`` when it is wrong.
    package convenience init(_ settings: Settings) throws(SettingsError) {
        self.init(try settings.milliseconds("DRAIN_MS", default: 0, in: 0...Self.maximumMs))
    }

    package var description: String { "drain" }

    /// Whether the process has been told to stop.
    var hasBegun: Bool { begun.load(ordering: .relaxed) }

    /// Waits until the process shall stop, and then for the drain time.
    package func run() async {
        try? await gracefulShutdown()
        begun.store(true, ordering: .relaxed)
        try? await Task.sleep(for: duration)
    }
}
