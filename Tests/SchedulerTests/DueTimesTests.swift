import Foundation
import Testing

@testable import Scheduler

/// Every minute, seen from the times at which nobody looked.
@Suite("Due times")
struct DueTimesTests {
    private static let start = Date(timeIntervalSince1970: 1_800_000_000)

    private func job(_ lines: String = "", cron: String = "* * * * *") throws -> Job {
        let toml = "[[job]]\nname = \"a\"\ncron = \"\(cron)\"\ncommand = [\"b\"]\n" + lines
        return try #require(try Schedule(toml: toml).jobs.first)
    }

    private func minute(_ number: Int) -> Date { Self.start + 60 * Double(number) }

    @Test("nothing is due before its time, and then it is")
    func onTime() throws {
        let job = try job()
        #expect(job.due(after: Self.start, at: minute(1) - 0.001) == .later(minute(1)))
        #expect(job.due(after: Self.start, at: minute(1)) == .run(minute(1), missed: 0))
    }

    @Test("coalesce runs the last of all times that passed, however many they are")
    func coalesce() throws {
        let job = try job()
        #expect(job.due(after: Self.start, at: minute(180) + 5) == .run(minute(180), missed: 179))
        // More than one step can take: what is cut off is missed, and the rest goes on from there.
        let step = Job.longestStep
        #expect(job.due(after: Self.start, at: minute(step)) == .run(minute(step), missed: step - 1))
        #expect(job.due(after: Self.start, at: minute(step + 1)) == .missed(minute(step), count: step))
        #expect(job.due(after: minute(step), at: minute(step + 1)) == .run(minute(step + 1), missed: 0))
    }

    @Test("all runs one after the other")
    func all() throws {
        let job = try job("misfire = \"all\"")
        #expect(job.due(after: Self.start, at: minute(180)) == .run(minute(1), missed: 0))
        #expect(job.due(after: minute(1), at: minute(180)) == .run(minute(2), missed: 0))
    }

    @Test("skip runs none that is a minute late, and the one that is not")
    func skip() throws {
        let job = try job("misfire = \"skip\"", cron: "*/10 * * * *")
        #expect(job.due(after: Self.start, at: minute(35)) == .missed(minute(30), count: 3))
        #expect(job.due(after: Self.start, at: minute(30) + 59) == .missed(minute(20), count: 2))
        #expect(job.due(after: minute(20), at: minute(30) + 59) == .run(minute(30), missed: 0))
        #expect(job.due(after: minute(30), at: minute(35)) == .later(minute(40)))
    }

    @Test("after the starting deadline a time is missed, and the next one is not")
    func deadline() throws {
        let hourly = try job("starting_deadline_seconds = 600", cron: "0 * * * *")
        let hour = Date(timeIntervalSince1970: 1_800_003_600)
        #expect(hourly.due(after: hour - 7_200, at: hour + 600) == .run(hour, missed: 1))
        #expect(hourly.due(after: hour - 7_200, at: hour + 601) == .missed(hour, count: 2))
        let all = try job("misfire = \"all\"\nstarting_deadline_seconds = 600", cron: "0 * * * *")
        #expect(all.due(after: hour - 7_200, at: hour + 5) == .missed(hour - 3_600, count: 1))
        #expect(all.due(after: hour - 3_600, at: hour + 5) == .run(hour, missed: 0))
    }

    @Test("jitter delays a time by the same part of it whenever one asks, within its bounds")
    func jitter() throws {
        let job = try job("jitter_seconds = 30")
        let delays = (1...500).map { job.start(of: minute($0)).timeIntervalSince(minute($0)) }
        #expect(delays.allSatisfy { (0...30).contains($0) })
        #expect((delays.min() ?? 30) < 2 && (delays.max() ?? 0) > 28)
        let start = job.start(of: minute(1))
        #expect(start == job.start(of: minute(1)))
        #expect(job.due(after: Self.start, at: start - 0.001) == .later(start))
        #expect(job.due(after: Self.start, at: start) == .run(minute(1), missed: 0))
    }
}
