import AMQP
import Foundation
import NIOCore
import Operations
import OrderDomain
import OrderMessages
import OrderStore
import Postgres
import ServiceLifecycle

/// Asks all sources again and again, once for all who watch. Each source is asked on its own, so that one that hangs
/// keeps no other from being shown; each call has a deadline.
actor ConsoleSampler: Service, CustomStringConvertible {
    /// Whom to ask.
    struct Sources: Sendable {
        let pool: PostgresPool
        let inspector: AMQPInspector
        let consumer: ConsumerClient
        let scheduler: SchedulerClient
        /// Nil where the platform is a real one.
        let mockPlatform: MockPlatform?
        let popular: PopularProducts
        let orders: CommitMetrics
    }

    private static let timeout = Duration.seconds(2)
    private static let pause = Duration.seconds(1)
    /// Jobs run by the minute.
    private static let jobsPause = Duration.seconds(2)
    /// Moments that the chart remembers: ten minutes.
    private static let maximumPoints = 600
    /// Jobs whose last runs are asked for at most.
    private static let maximumJobs = 100

    nonisolated let description = "console"
    nonisolated let viewers = ConsoleViewers()
    private let sources: Sources
    private var snapshot = ConsoleSnapshot()
    private var points: [ConsoleSnapshot.Point] = []
    private var rates = OrderRates()
    private var popular = PopularChanges()
    private var jobNames: Set<String> = []

    init(_ sources: Sources) {
        self.sources = sources
        if sources.mockPlatform != nil { snapshot.platform = Reading() }
    }

    /// Runs until the graceful shutdown.
    func run() async {
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await self.repeating(every: Self.pause) { await self.askOutbox() } }
                group.addTask { await self.repeating(every: Self.pause) { await self.askQueues() } }
                group.addTask { await self.repeating(every: Self.pause) { await self.askConsumer() } }
                group.addTask { await self.repeating(every: Self.pause) { await self.askPopular() } }
                group.addTask { await self.repeating(every: Self.pause) { await self.askPlatform() } }
                group.addTask {
                    // The scheduler says which jobs there are.
                    await self.repeating(every: Self.jobsPause) {
                        await self.askScheduler()
                        await self.askJobs()
                    }
                }
                group.addTask { await self.repeating(every: Self.pause) { await self.tell() } }
            }
        }
    }

    private nonisolated func repeating(every pause: Duration, _ step: () async -> Void) async {
        while !Task.isCancelled {
            await step()
            try? await Task.sleep(for: pause)
        }
    }

    /// How many dead letters there are, as far as anybody has counted.
    var deadLetters: Int? { snapshot.queues.value?.deadLetters }

    // MARK: What is told

    /// All that is known now, with the moments of the last minutes; JSON.
    func whole() throws -> String {
        try message(points)
    }

    private func message(_ points: [ConsoleSnapshot.Point]) throws -> String {
        snapshot.expire(at: Date())
        let status = ConsoleStatus(snapshot)
        return try encoded(
            ConsoleMessage(now: Date().rfc3339, status: status, snapshot: snapshot, points: points)
        )
    }

    private func tell() {
        snapshot.orders = rates.add(sources.orders.counts, at: .now)
        snapshot.expire(at: Date())
        let consumer = snapshot.consumer.value
        let point = ConsoleSnapshot.Point(
            at: Date(),
            p50Ms: consumer?.p50Ms,
            p99Ms: consumer?.p99Ms,
            oldestMs: consumer?.oldestSeconds.map { $0 * 1_000 }
        )
        points.append(point)
        if points.count > Self.maximumPoints { points.removeFirst() }
        guard viewers.count > 0, let message = try? message([point]) else { return }
        viewers.send(Self.event(message))
    }

    /// A server-sent event.
    static func event(_ json: String) -> ByteBuffer {
        ByteBuffer(string: "data: \(json)\n\n")
    }

    // MARK: Who is asked

    private func askOutbox() async {
        do {
            let pending = try await sources.pool.withConnection(deadline: .now + Self.timeout) { connection in
                try await OutboxStore.pending(on: connection, deadline: .now + Self.timeout)
            }
            let age = pending.oldest.map { max(0, Date().timeIntervalSince($0)) } ?? 0
            let outbox = ConsoleSnapshot.Outbox(pending: pending.count, oldestSeconds: age, parked: pending.parked)
            snapshot.outbox.take(outbox, at: Date())
        } catch {
            snapshot.outbox.fail("\(error)")
        }
    }

    private func askQueues() async {
        do {
            let depths = try await ForwardingDepths.read(sources.inspector, deadline: .now + Self.timeout)
            snapshot.queues.take(.init(depths, before: snapshot.queues.value), at: Date())
        } catch {
            snapshot.queues.fail("\(error)")
        }
    }

    private func askConsumer() async {
        switch await sources.consumer.reading() {
        case .success(let lag): snapshot.consumer.take(.init(lag), at: Date())
        case .failure(let error): snapshot.consumer.fail("\(error)")
        }
    }

    private func askPopular() async {
        do {
            let list = try await sources.popular.current(.quantity, deadline: .now + Self.timeout)
            snapshot.popular.take(popular.add(list), at: Date())
        } catch {
            snapshot.popular.fail("\(error)")
        }
    }

    private func askPlatform() async {
        guard let mock = sources.mockPlatform else { return }
        do {
            let faults = try await mock.faults()
            snapshot.platform?.take(faults, at: Date())
        } catch {
            snapshot.platform?.fail("the mock data platform cannot be reached at \(mock.base)")
        }
    }

    private func askScheduler() async {
        do {
            let next = try await sources.scheduler.nextRuns()
            jobNames.formUnion(next.keys.sorted().prefix(Self.maximumJobs))
            snapshot.scheduler.take(next.mapValues(\.rfc3339), at: Date())
        } catch {
            snapshot.scheduler.fail("the scheduler cannot be reached at \(sources.scheduler.base)")
        }
    }

    private func askJobs() async {
        let store = JobRunStore(sources.pool)
        do {
            // Without the scheduler nobody says which jobs there are, but the last runs do.
            if jobNames.isEmpty {
                let runs = try await store.history(of: nil, limit: Self.maximumJobs, deadline: .now + Self.timeout)
                jobNames.formUnion(runs.map(\.job))
            }
            let runs = try await store.latest(jobNames.sorted(), deadline: .now + Self.timeout)
            let last = Dictionary(runs.map { ($0.job, $0) }) { $1 }
            let jobs = jobNames.sorted().map { name in
                let next = snapshot.scheduler.value?[name]
                return ConsoleSnapshot.Job(name: name, next: next, last: last[name].map(ConsoleSnapshot.Run.init))
            }
            snapshot.jobs.take(jobs, at: Date())
        } catch {
            snapshot.jobs.fail("\(error)")
        }
    }
}
