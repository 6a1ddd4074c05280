import Synchronization
import UnixSignals

/// Whether SIGINT or SIGTERM has come: what goes on step by step ends after the step.
package final class StopRequest: Sendable {
    private let came = Atomic<Bool>(false)

    /// A request that has not come.
    package init() {}

    /// Lets it come.
    package func stop() {
        came.store(true, ordering: .relaxed)
    }

    /// Whether to end after this step.
    package var isRequested: Bool { came.load(ordering: .relaxed) }

    /// Runs `body`, which looks at the request between its steps.
    package static func during<Answer>(_ body: (StopRequest) async throws -> Answer) async throws -> Answer {
        let request = StopRequest()
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        let watch = Task {
            for await _ in signals { request.stop() }
        }
        defer { watch.cancel() }
        return try await body(request)
    }

    /// Sleeps, at most until the request comes.
    package func sleep(_ time: Duration) async {
        let deadline = ContinuousClock.now + time
        while !isRequested, ContinuousClock.now < deadline {
            try? await Task.sleep(for: min(.milliseconds(50), deadline - .now))
        }
    }
}
