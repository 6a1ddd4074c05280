import Foundation
import Testing

@testable import Consumer

@Suite("The status of the lag, judged over a window")
struct LagWindowTests {
    private func status(
        _ samples: [(due: Int, settled: Int, delivered: Int)],
        postponed: Int = 0,
        isAtLeast: Bool = false
    ) -> LagStatus {
        var window = LagWindow()
        for sample in samples {
            window.add(
                .init(
                    due: sample.due,
                    postponed: postponed,
                    isAtLeast: isAtLeast,
                    settled: sample.settled,
                    delivered: sample.delivered
                )
            )
        }
        return window.status
    }

    @Test("until the window is full all is well")
    func beginning() {
        #expect(status([]) == .ok)
        #expect(status(Array(repeating: (5, 0, 0), count: 9)) == .ok)
        #expect(status(Array(repeating: (5, 0, 0), count: 10)) == .stop)
    }

    @Test("a moment without anything waiting makes it well, until it leaves the window")
    func zero() {
        let samples = [(0, 0, 0)] + Array(repeating: (5, 0, 0), count: 9)
        #expect(status(samples) == .ok)
        #expect(status(samples + [(5, 0, 0)]) == .stop)
    }

    @Test("settled but not delivered is a stall; delivered but never less is a warning; else it is well")
    func rules() {
        #expect(status((0..<10).map { (5, $0, 0) }) == .stall)
        #expect(status((0..<10).map { (5 + $0, $0, $0) }) == .warn)
        #expect(status((0..<10).map { (5, $0, $0) }) == .warn)
        #expect(status((0..<10).map { (50 - $0, $0, $0) }) == .ok)
        #expect(status((0..<10).map { ($0 == 5 ? 4 : 5, $0, $0) }) == .ok)
        #expect(status((0..<10).map { (80_000, $0, $0) }, isAtLeast: true) == .ok)
    }

    @Test("what waits for its time has not stopped")
    func postponed() {
        #expect(status(Array(repeating: (0, 0, 0), count: 10), postponed: 1) == .warn)
        #expect(status((0..<10).map { (0, $0, 0) }, postponed: 1) == .stall)
        #expect(status(Array(repeating: (1, 0, 0), count: 10), postponed: 1) == .stop)
    }

    @Test("who only sets aside what waits for others has neither settled anything nor stopped")
    func setAside() {
        var window = LagWindow()
        for index in 0..<10 { window.add(.init(due: 5, postponed: 1, settled: 3, delivered: 2, setAside: index)) }
        #expect(window.status == .warn)
    }
}

@Suite("How fast the lag drains")
struct DrainRateTests {
    private let start = ContinuousClock.now

    @Test("the rate of deliveries, and when the last one is done at the present rate")
    func draining() {
        var rate = DrainRate()
        #expect(rate.etaSeconds == 0)
        #expect(rate.deliveredPerSecond == 0)
        rate.add(at: start, waiting: 1_000, delivered: 0)
        #expect(rate.etaSeconds == .infinity)
        rate.add(at: start + .seconds(10), waiting: 800, delivered: 500)
        #expect(rate.deliveredPerSecond == 50)
        #expect(rate.etaSeconds == 40)
        rate.add(at: start + .seconds(20), waiting: 1_100, delivered: 600)
        #expect(rate.etaSeconds == .infinity)
        rate.add(at: start + .seconds(21), waiting: 0, delivered: 1_700)
        #expect(rate.etaSeconds == 0)
    }

    @Test("while more waits than can be counted nobody knows when the last one is done")
    func uncounted() {
        var rate = DrainRate()
        rate.add(at: start, waiting: nil, delivered: 0)
        rate.add(at: start + .seconds(5), waiting: nil, delivered: 500)
        #expect(rate.etaSeconds == .infinity)
        rate.add(at: start + .seconds(10), waiting: 800, delivered: 1_000)
        #expect(rate.etaSeconds == .infinity)
        rate.add(at: start + .seconds(20), waiting: 400, delivered: 1_400)
        #expect(rate.etaSeconds == 10)
    }

    @Test("what is older than the window is forgotten")
    func window() {
        var rate = DrainRate()
        rate.add(at: start, waiting: 9, delivered: 0)
        rate.add(at: start + .seconds(31), waiting: 9, delivered: 1_000)
        #expect(rate.deliveredPerSecond == 0)
        rate.add(at: start + .seconds(41), waiting: 9, delivered: 1_100)
        #expect(rate.deliveredPerSecond == 10)
    }
}

@Suite("The delays of the last minutes")
struct DelayWindowTests {
    private let start = ContinuousClock.now

    @Test("quantiles are right within a fifth")
    func quantiles() {
        var window = DelayWindow()
        let none = window.quantile(0.5, at: start)
        #expect(none == nil)
        for delayMs in 1...1_000 { window.add(Double(delayMs), at: start) }
        let (p50, p99) = (window.quantile(0.5, at: start) ?? 0, window.quantile(0.99, at: start) ?? 0)
        #expect((500...600).contains(p50))
        #expect((990...1_188).contains(p99))
        let count = window.count(at: start)
        #expect(count == 1_000)
        var extremes = DelayWindow()
        extremes.add(0, at: start)
        extremes.add(1e12, at: start)
        let (low, both) = (extremes.quantile(0.5, at: start), extremes.count(at: start))
        #expect(low == 1)
        #expect(both == 2)
    }

    @Test("they are forgotten after five minutes, slice by slice")
    func forgetting() {
        var window = DelayWindow()
        window.add(10, at: start)
        window.add(10, at: start + .seconds(150))
        expect(&window, at: 299, count: 2)
        expect(&window, at: 301, count: 1)
        expect(&window, at: 460, count: 0)
        expect(&window, at: 100_000, count: 0)
    }

    private func expect(_ window: inout DelayWindow, at seconds: Int, count expected: Int) {
        let count = window.count(at: start + .seconds(seconds))
        #expect(count == expected, "after \(seconds) s")
    }
}

@Suite("The report of the lag")
struct LagReportTests {
    private let now = Date(timeIntervalSince1970: 1_700_000_000)

    private func measurement(depths: [String: Int]?, outbox: LagMeasurement.Outbox? = nil) -> LagMeasurement {
        let view = Progress.View(
            delivered: 0,
            settled: 0,
            setAside: 0,
            lastTaken: now.addingTimeInterval(-7),
            oldestInHand: now.addingTimeInterval(-3),
            oldestInTier: [2_000: now.addingTimeInterval(-1)],
            delays: DelayWindow()
        )
        var measurement = LagMeasurement(at: now, progress: view, circuit: .halfOpen)
        measurement.depths = depths
        measurement.outbox = outbox
        measurement.unacked = 2
        return measurement
    }

    @Test("each stage has what was measured; both queues of a tier are one")
    func stages() {
        var judgement = LagJudgement()
        let report = judgement.judge(
            measurement(
                depths: [
                    "dataplatform.forward.v1": 5, "dataplatform.dlq.v1": 3, "dataplatform.retry.2000.v1": 1,
                    "dataplatform.retry.2000.late.v1": 4,
                ],
                outbox: .init(pending: 9, oldest: now.addingTimeInterval(-60))
            ),
            isSample: true,
            at: .now
        )
        #expect(report.stages.map(\.messages) == [9, 5, 2, 5, 3])
        #expect(report.stages.map(\.oldestSeconds) == [60, 7, 3, 1, 0])
        #expect(report.retryTiers.filter { $0.messages > 0 } == [.init(tierMs: 2_000, messages: 5, oldestSeconds: 1)])
        #expect(report.circuit == "half_open")
    }

    @Test("what nobody knows the age of is as old as its stage has had messages")
    func ages() {
        var judgement = LagJudgement()
        var letters = measurement(depths: ["dataplatform.dlq.v1": 3])
        _ = judgement.judge(letters, isSample: false, at: .now)
        letters = LagMeasurement(
            at: now.addingTimeInterval(20),
            progress: letters.progress,
            circuit: .closed,
            depths: letters.depths
        )
        let report = judgement.judge(letters, isSample: false, at: .now)
        #expect(report[.dlq]?.oldestSeconds == 20)
    }

    @Test("dead letters that somebody goes through are neither gone nor younger by it")
    func walkedDeadLetters() {
        var judgement = LagJudgement()
        let progress = measurement(depths: nil).progress
        var seen: [LagReport.StageLag?] = []
        for (second, count) in [(0.0, nil), (1, 3), (2, nil), (3, 3), (4, 0), (5, 1)] as [(TimeInterval, Int?)] {
            let looked = LagMeasurement(
                at: now.addingTimeInterval(second),
                progress: progress,
                circuit: .closed,
                depths: count.map { ["dataplatform.dlq.v1": $0] } ?? [:]
            )
            seen.append(judgement.judge(looked, isSample: false, at: .now)[.dlq])
        }
        #expect(seen.map { $0?.messages } == [nil, 3, 3, 3, 0, 1])
        #expect(seen.map { $0?.oldestSeconds } == [nil, 0, 1, 2, 0, 0])
    }

    @Test("what is ready came after the queue was last seen empty")
    func readyAge() {
        var judgement = LagJudgement()
        let progress = measurement(depths: nil).progress
        var ages: [TimeInterval?] = []
        for (second, count) in [(0.0, 1), (1, 0), (3, 2), (4, 2)] as [(TimeInterval, Int)] {
            let looked = LagMeasurement(
                at: now.addingTimeInterval(second),
                progress: progress,
                circuit: .closed,
                depths: ["dataplatform.forward.v1": count]
            )
            ages.append(judgement.judge(looked, isSample: false, at: .now)[.ready]?.oldestSeconds)
        }
        #expect(ages == [7, 0, 2, 3])
    }

    @Test("before a circuit that is not closed something that waits is a stall at once", arguments: [2, 0])
    func openCircuit(unacked: Int) {
        let expected = unacked > 0 ? LagStatus.stall : .ok
        var judgement = LagJudgement()
        var measured = LagMeasurement(
            at: now,
            progress: measurement(depths: nil).progress,
            circuit: .open(until: .now + .seconds(1))
        )
        measured.unacked = unacked
        #expect(judgement.judge(measured, isSample: true, at: .now).status == expected)
    }

    @Test("while nobody can be asked, what waited still waits")
    func unknown() {
        var judgement = LagJudgement()
        var statuses: [LagStatus] = []
        for sample in 0..<LagWindow.size {
            var measurement = measurement(depths: sample == 0 ? ["dataplatform.forward.v1": 5] : nil)
            measurement.unacked = 0
            statuses.append(judgement.judge(measurement, isSample: true, at: .now).status)
        }
        #expect(statuses.last == .stop)
    }

    @Test("in JSON what is not known is null")
    func json() throws {
        var judgement = LagJudgement()
        let report = judgement.judge(measurement(depths: nil), isSample: false, at: .now)
        let text = String(decoding: try report.json(), as: UTF8.self)
        for part in [
            #""status":"stall""#, #""circuit":"half_open""#, #""stage":"outbox""#, #""messages":null"#,
            #""oldestSeconds":null"#, #""p50Ms":null"#, #""p99Ms":null"#, #""windowSeconds":300"#, #""samples":0"#,
            #""consumePerSecond":0"#, #""drainEtaSeconds":null"#, #""asOf":"2023-11-14T22:13:20.000Z""#,
        ] {
            #expect(text.contains(part), "\(text) has no \(part)")
        }
    }
}
