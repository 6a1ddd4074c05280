import Foundation
import Testing

@testable import OrderStore
@testable import Scheduler

/// Real processes: `/bin/sh` with a script.
@Suite("Children", .timeLimit(.minutes(2)))
struct ChildTests {
    private func run(
        _ script: String,
        environment: [String: String] = ["PATH": "/usr/bin:/bin"],
        timeout: Duration = .seconds(30)
    ) async -> JobRunStore.Ending {
        await Child(["/bin/sh", "-c", script], in: "/bin", environment: environment, timeout: timeout).run()
    }

    @Test("what it exits with and what it says are kept")
    func outcome() async {
        #expect(
            await run("echo said; echo so >&2")
                == JobRunStore.Ending(result: .ok, exitCode: 0, signal: nil, detail: "said\nso")
        )
        #expect(await run("exit 74") == JobRunStore.Ending(result: .failed, exitCode: 74, signal: nil, detail: nil))
        #expect(
            await run("echo another run is going on; exit 75")
                == JobRunStore.Ending(result: .skipped, exitCode: 75, signal: nil, detail: "another run is going on")
        )
    }

    @Test("a command that cannot be started is told by its path")
    func missing() async {
        let ending = await Child(["missing"], in: "/nowhere", timeout: .seconds(5)).run()
        #expect(ending.result == .failed)
        #expect(ending.detail == "cannot run /nowhere/missing: there is no file that may be executed")
    }

    @Test("it gets its environment and nothing else")
    func environment() async {
        let ending = await Child(
            ["env"],
            in: "/usr/bin",
            environment: ["A": "1", "B": "two words"],
            timeout: .seconds(5)
        )
        .run()
        #expect(Set((ending.detail ?? "").split(separator: "\n")) == ["A=1", "B=two words"])
    }

    @Test("a signal that ends it is kept", arguments: [SIGKILL, SIGSEGV])
    func signal(number: Int32) async {
        let ending = await run("kill -\(number) $$")
        #expect(ending.result == .failed)
        #expect(ending.signal == Int(number))
        #expect(ending.exitCode == nil)
        #expect(ending.detail == "ended by signal \(number)")
    }

    @Test("past its timeout nothing that it exits with makes it a run that was skipped")
    func lateSkip() async {
        let ending = await run("trap 'exit 75' TERM; sleep 60 & wait", timeout: .seconds(1))
        #expect(ending.result == .timedOut && ending.exitCode == 75)
    }

    @Test("past its timeout it gets SIGTERM")
    func timeout() async {
        let start = ContinuousClock.now
        let ending = await run("trap 'echo told; exit 3' TERM; echo up; sleep 60 & wait", timeout: .seconds(1))
        #expect(ending.result == .timedOut)
        #expect(ending.exitCode == 3)
        #expect(ending.detail == "took longer than 1 s; up\ntold")
        #expect(ContinuousClock.now - start < .seconds(5))
    }

    @Test(
        "one that ignores SIGTERM, and one that is stopped, get SIGKILL",
        arguments: ["trap '' TERM", "kill -STOP $$"]
    )
    func stubborn(script: String) async {
        let start = ContinuousClock.now
        let ending = await run("\(script); while :; do sleep 1; done", timeout: .seconds(1))
        #expect(ending.result == .timedOut)
        #expect(ending.signal == Int(SIGKILL))
        #expect(ContinuousClock.now - start < Child.stopLimit + .seconds(10))
    }

    @Test("what it leaves behind in its group ends with it, and is not waited for")
    func leftBehind() async throws {
        let start = ContinuousClock.now
        let ending = await run("trap '' TERM; sleep 300 & echo $!; exit 0")
        #expect(ending.result == .ok)
        #expect(ContinuousClock.now - start < .seconds(10))
        let process = try #require(pid_t(ending.detail ?? ""))
        try await eventually("the process left behind is gone") { kill(process, 0) != 0 }
    }

    @Test("what has left its group keeps nobody waiting either")
    func escaped() async throws {
        let start = ContinuousClock.now
        let ending = await run("setsid sleep 20 & echo up; exit 0")
        #expect(ending.result == .ok)
        #expect(ending.detail == "up")
        #expect(ContinuousClock.now - start < .seconds(10))
    }

    @Test("of an endless output the end is kept")
    func bounded() async {
        let ending = await run("yes | head -c 5000000; echo the end")
        #expect(ending.result == .ok)
        let detail = ending.detail ?? ""
        #expect(detail.count <= JobRunStore.detailLimit)
        #expect(detail.hasSuffix("y\nthe end"))
    }

    @Test("output that is no text becomes one that the database takes")
    func noText() async {
        let ending = await run(#"printf 'a\000b\377c'"#)
        #expect(ending.detail == "ab\u{FFFD}c")
    }
}

/// Waits until the condition holds; records an issue when it does not in time.
func eventually(
    _ what: String,
    within time: Duration = .seconds(20),
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + time
    while try await !condition() {
        try #require(ContinuousClock.now < deadline, "not within \(time): \(what)")
        try await Task.sleep(for: .milliseconds(20))
    }
}
