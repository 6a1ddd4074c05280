import Foundation
import OrderStore
import ServiceLifecycle
import Subprocess
import Synchronization
import SystemPackage

/// A process that a job starts.
struct Child: Sendable {
    /// What became of it.
    struct Outcome: Sendable {
        let result: JobRunStore.Result
        /// What it exited with; nil when it was not started or ended by a signal.
        let exitCode: Int?
        /// The end of its output, or why there is none.
        let detail: String
    }

    /// How long a process that is told to stop may take before it is killed.
    private static let stopLimit = Duration.seconds(5)

    private enum Event: Sendable {
        case ended(TerminationStatus)
        case broken(String)
        case timeIsUp
        case stopping
    }

    /// The path of the executable, or its name in the folder of ours.
    let executable: String
    let arguments: [String]
    let timeout: Duration

    init(_ command: [String], in folder: String, timeout: Duration) {
        let name = command.first ?? ""
        executable = name.contains("/") ? name : "\(folder)/\(name)"
        arguments = Array(command.dropFirst())
        self.timeout = timeout
    }

    /// Runs the process to its end; on a timeout, a graceful shutdown or a cancellation it gets SIGTERM, then SIGKILL.
    func run() async -> Outcome {
        let output = OutputTail()
        let event = await withTaskGroup(of: Event.self) { group in
            group.addTask { await start(output) }
            group.addTask {
                try? await Task.sleep(for: timeout)
                return Task.isCancelled ? .stopping : .timeIsUp
            }
            group.addTask {
                try? await gracefulShutdown()
                return .stopping
            }
            let first = await group.next() ?? .stopping
            group.cancelAll()
            // The first task ends only when the process has.
            await group.waitForAll()
            return first
        }
        return outcome(event, output.text)
    }

    private func start(_ tail: OutputTail) async -> Event {
        var options = PlatformOptions()
        // A group of its own, so that what the process has started itself ends with it.
        options.processGroupID = 0
        options.teardownSequence = [
            .gracefulShutDown(toProcessGroup: true, allowedDurationToNextStep: Self.stopLimit)
        ]
        do {
            let ended = try await Subprocess.run(
                .path(FilePath(executable)),
                arguments: Arguments(arguments),
                platformOptions: options,
                input: .none,
                output: .sequence,
                error: .combinedWithOutput
            ) { execution in
                for try await buffer in execution.standardOutput {
                    unsafe buffer.withUnsafeBytes { bytes in unsafe tail.append(Array(bytes)) }
                }
            }
            return .ended(ended.terminationStatus)
        } catch {
            return .broken("\(error)")
        }
    }

    private func outcome(_ event: Event, _ output: String) -> Outcome {
        switch event {
        case .ended(.exited(0)): Outcome(result: .ok, exitCode: 0, detail: output)
        case .ended(.exited(let code)): Outcome(result: .failed, exitCode: Int(code), detail: output)
        case .ended(.signaled(let signal)):
            Outcome(result: .failed, exitCode: nil, detail: text("ended by signal \(signal)", output))
        case .broken(let reason):
            Outcome(result: .failed, exitCode: nil, detail: "cannot run \(executable): \(reason)")
        case .timeIsUp:
            Outcome(result: .timedOut, exitCode: nil, detail: text("took longer than \(timeout)", output))
        case .stopping:
            Outcome(result: .failed, exitCode: nil, detail: text("stopped together with the scheduler", output))
        }
    }

    private func text(_ reason: String, _ output: String) -> String {
        output.isEmpty ? reason : "\(reason); \(output)"
    }
}

/// The last bytes of an output that may be endless.
private final class OutputTail: Sendable {
    /// Leaves room for the words before it within ``JobRunStore/detailLimit``.
    private static let limit = JobRunStore.detailLimit - 100

    private let bytes = Mutex<[UInt8]>([])

    func append(_ more: [UInt8]) {
        bytes.withLock { $0 = ($0 + more).suffix(Self.limit) }
    }

    /// As text that the database takes: no NUL, what is no UTF-8 replaced.
    var text: String {
        String(decoding: bytes.withLock { $0 }.filter { $0 != 0 }, as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
