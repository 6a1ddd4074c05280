import Foundation
import Glibc
import OrderStore
import ServiceLifecycle
import ServiceRuntime
import Subprocess
import Synchronization
import SystemPackage

/// A process that a job starts.
///
/// It leads a process group of its own, which ends with it: what it leaves behind in the group is killed. When the
/// scheduler itself is killed the kernel kills the process too (`PR_SET_PDEATHSIG`, set by setpriv), but not what the
/// process has started: that can go on for as long as it likes, with a fencing number that is no longer the newest.
struct Child: Sendable {
    /// How long a process that is told to stop may take before it is killed.
    static let stopLimit = Duration.seconds(5)
    /// Part of Debian's essential util-linux.
    private static let setpriv = "/usr/bin/setpriv"

    private enum Event: Sendable {
        case ended(TerminationStatus)
        case broken(String)
        case timeIsUp
        case stopping

        var isOfProcess: Bool {
            switch self {
            case .ended, .broken: true
            case .timeIsUp, .stopping: false
            }
        }
    }

    /// The path of the executable, or its name in the folder of ours.
    let executable: String
    let arguments: [String]
    /// All of it: nothing is inherited.
    let environment: [String: String]
    let timeout: Duration

    init(_ command: [String], in folder: String, environment: [String: String] = [:], timeout: Duration) {
        let name = command.first ?? ""
        executable = name.contains("/") ? name : "\(folder)/\(name)"
        arguments = Array(command.dropFirst())
        self.environment = environment
        self.timeout = timeout
    }

    /// Runs the process to its end; on a timeout, a graceful shutdown or a cancellation it gets SIGTERM, then SIGKILL,
    /// which also ends one that was stopped with SIGSTOP.
    func run() async -> JobRunStore.Ending {
        guard FileManager.default.isExecutableFile(atPath: executable) else {
            let reason = "cannot run \(executable): there is no file that may be executed"
            return JobRunStore.Ending(result: .failed, exitCode: nil, signal: nil, detail: reason)
        }
        let output = OutputTail()
        let group = ProcessGroup()
        let (events, continuation) = AsyncStream.makeStream(of: Event.self)
        // A task that nobody cancels: it reads what the process says to its end, also while that is being stopped.
        let process = Task {
            let end = await start(output, group)
            continuation.yield(end)
            return end
        }
        let timer = Task {
            try await Task.sleep(for: timeout)
            continuation.yield(.timeIsUp)
        }
        let first = await withTaskCancellationOrGracefulShutdownHandler {
            await events.first { _ in true } ?? .stopping
        } onCancelOrGracefulShutdown: {
            continuation.yield(.stopping)
        }
        timer.cancel()
        let stop = first.isOfProcess ? nil : Task { try await group.stop(within: Self.stopLimit) }
        let end = await process.value
        stop?.cancel()
        return ending(first, end, output.text)
    }

    private func start(_ tail: OutputTail, _ group: ProcessGroup) async -> Event {
        var options = PlatformOptions()
        options.processGroupID = 0
        defer { group.killRest() }
        do {
            let ended = try await Subprocess.run(
                .path(FilePath(Self.setpriv)),
                arguments: Arguments(["--pdeathsig", "KILL", "--", executable] + arguments),
                environment: .custom(
                    Dictionary(uniqueKeysWithValues: environment.map { (.init(stringLiteral: $0), $1) })
                ),
                platformOptions: options,
                input: .none,
                output: .sequence,
                error: .combinedWithOutput
            ) { execution in
                group.start(execution.processIdentifier.value)
                for try await buffer in execution.standardOutput {
                    unsafe buffer.withUnsafeBytes { bytes in unsafe tail.append(Array(bytes)) }
                }
            }
            return .ended(ended.terminationStatus)
        } catch {
            return .broken("\(error)")
        }
    }

    /// What the first event says, with the way in which the process ended in any case.
    private func ending(_ first: Event, _ end: Event, _ output: String) -> JobRunStore.Ending {
        var (exitCode, signal) = (Int?.none, Int?.none)
        if case .ended(let status) = end {
            switch status {
            case .exited(let code): exitCode = Int(code)
            case .signaled(let number): signal = Int(number)
            }
        }
        let (result, reason): (JobRunStore.Result, String?) =
            switch first {
            case .ended(.exited(0)): (.ok, nil)
            // It was not its turn, and it did nothing: the aggregator while another run is going.
            case .ended(.exited(ServiceRuntime.ExitCode.temporaryFailure)): (.skipped, nil)
            case .ended(.exited): (.failed, nil)
            case .ended(.signaled(let number)): (.failed, "ended by signal \(number)")
            case .broken(let error): (.failed, "cannot run \(executable): \(error)")
            case .timeIsUp: (.timedOut, "took longer than \(timeout.components.seconds) s")
            case .stopping: (.failed, "stopped together with the scheduler")
            }
        let words = [reason, output.isEmpty ? nil : output].compactMap(\.self)
        let detail = words.isEmpty ? nil : words.joined(separator: "; ")
        return JobRunStore.Ending(result: result, exitCode: exitCode, signal: signal, detail: detail)
    }
}

/// The group that a process leads, once there is one.
private final class ProcessGroup: Sendable {
    private static let poll = Duration.milliseconds(10)

    private let leader = Mutex<pid_t?>(nil)

    func start(_ process: pid_t) {
        leader.withLock { $0 = process }
    }

    /// SIGTERM, then SIGKILL unless it is cancelled before; waits for the process to be there.
    func stop(within limit: Duration) async throws {
        while !send(SIGTERM) { try await Task.sleep(for: Self.poll) }
        try await Task.sleep(for: limit)
        send(SIGKILL)
    }

    /// Ends what the leader has left behind; the group's number is not given to another one while something is left.
    func killRest() {
        send(SIGKILL)
    }

    @discardableResult
    private func send(_ signal: Int32) -> Bool {
        leader.withLock(\.self).map { kill(-$0, signal) } != nil
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
