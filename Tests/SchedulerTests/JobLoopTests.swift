import Foundation
import Logging
import OpsMetrics
import OrderStore
import Postgres
import Redis
import Synchronization
import TestSupport
import Testing

@testable import Scheduler

/// A clock that a test sets.
private final class TestClock: Sendable {
    private let date = Mutex(Date(timeIntervalSince1970: 1_800_000_030))

    var now: Date { date.withLock(\.self) }

    func advance(_ seconds: TimeInterval) {
        date.withLock { $0 += seconds }
    }
}

/// What loops log.
private final class Messages: Sendable {
    private struct Handler: LogHandler {
        let messages: Messages
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            messages.lines.withLock { $0.append(event.message.description) }
        }
    }

    private let lines = Mutex<[String]>([])

    var logger: Logger { Logger(label: "tests") { _ in Handler(messages: self) } }

    var all: [String] { lines.withLock(\.self) }
}

/// A database and a folder for one job, whose times come when the test says so.
private struct Bench: Sendable {
    /// The time of the first run.
    static let first = Date(timeIntervalSince1970: 1_800_000_060)
    static let quiet = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }
    static let pace = Pace(
        longestSleep: .milliseconds(20),
        retryPause: .milliseconds(50),
        heartbeat: .milliseconds(200),
        lease: .seconds(5),
        claimLimit: .seconds(10)
    )

    let shop: Shop
    let clock = TestClock()
    let folder: URL
    let registry = MetricsRegistry()
    let metrics: JobMetrics

    static func with(_ body: (Bench) async throws -> Void) async throws {
        try await Shop.withShop { shop in
            let folder = FileManager.default.temporaryDirectory.appending(path: "jumun-jobs-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: folder) }
            try await body(Bench(shop: shop, folder: folder))
        }
    }

    private init(shop: Shop, folder: URL) {
        self.shop = shop
        self.folder = folder
        metrics = JobMetrics(registry)
    }

    var store: JobRunStore { JobRunStore(shop.pool) }

    /// Writes a line for its start, and goes on until there is a file `go`.
    static let waiting = """
        echo "start $JUMUN_SCHEDULED_FOR $JUMUN_FENCE" >> log; while [ ! -e go ]; do sleep 0.02; done
        """
    static let brief = #"echo "start $JUMUN_SCHEDULED_FOR $JUMUN_FENCE" >> log"#

    func job(_ script: String, _ lines: String = "") throws -> Job {
        let toml = """
            [[job]]
            name = "job"
            cron = "* * * * *"
            timezone = "UTC"
            command = ["/bin/sh", "-c", \"\"\"cd \(folder.path)\n\(script.replacing("\\", with: "\\\\"))\"\"\"]
            \(lines)
            """
        guard let job = try Schedule(toml: toml).jobs.first else { throw CocoaError(.featureUnsupported) }
        return job
    }

    func loop(
        _ job: Job,
        pool: PostgresPool? = nil,
        lock: JobLock? = nil,
        clock: TestClock? = nil,
        logger: Logger = Bench.quiet
    ) -> JobLoop {
        let (clock, store) = (clock ?? self.clock, JobRunStore(pool ?? shop.pool))
        return JobLoop(
            job: job,
            owner: UUID(),
            store: store,
            lostRuns: LostRuns(store: store, metrics: metrics, logger: logger, pace: Bench.pace),
            lock: lock,
            executables: "/bin",
            environment: ["PATH": "/usr/bin:/bin"],
            metrics: metrics,
            logger: logger,
            createdAt: clock.now,
            pace: Bench.pace,
            now: { clock.now }
        )
    }

    /// Runs schedulers beside the body, and stops them at its end.
    func run(_ loops: [JobLoop], _ body: () async throws -> Void) async throws {
        let tasks = loops.map { loop in Task { await loop.run() } }
        do { try await body() } catch {
            for task in tasks { task.cancel() }
            throw error
        }
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
    }

    /// What became of the times, the first one first, as `minute:result`, with `+missed` where it stands for more.
    func history() async throws -> [String] {
        try await runs().map { run in
            let minute = Int(run.scheduledFor.timeIntervalSince(Bench.first) / 60)
            return "\(minute):\(run.result.rawValue)" + (run.missed > 0 ? "+\(run.missed)" : "")
        }
    }

    func runs() async throws -> [JobRunStore.JobRun] {
        try await store.history(of: "job", limit: 1_000, deadline: .now + Shop.timeout).reversed()
    }

    /// Waits until the times have come to this.
    func expect(_ history: String...) async throws {
        try await eventually("\(history)", within: .seconds(20)) { try await self.history() == history }
    }

    /// The lines that processes have written.
    var log: [String] {
        let text = (try? String(contentsOf: folder.appending(path: "log"), encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map(String.init)
    }

    func letGo() throws {
        try Data().write(to: folder.appending(path: "go"))
    }

    func count(_ result: String, of job: String = "job") -> Int {
        let labels = "{job=\"\(job)\",result=\"\(result)\"}"
        let line = registry.render().split(separator: "\n")
            .first { $0.hasPrefix("scheduler_job_runs_total" + labels) }
        return line?.split(separator: " ").last.flatMap { Double($0) }.map { Int($0) } ?? 0
    }

    /// Starts the first run of a job for a scheduler that is not heard of again; its number.
    func abandon(_ job: String) async throws -> Int64 {
        let claim = try await store.claim(
            job,
            scheduledFor: Bench.first,
            at: Bench.first,
            owner: UUID(),
            missed: 0,
            isReplacing: false,
            deadline: .now + Shop.timeout
        )
        guard case .started(let fence) = claim else { throw CocoaError(.featureUnsupported) }
        try await execute("UPDATE job_runs SET heartbeat_at = now() - interval '6 s'")
        return fence
    }

    func execute(_ script: String) async throws {
        let connection = try await shop.connect()
        try await connection.execute(script: script, deadline: .now + Shop.timeout)
        await connection.close()
    }
}

@Suite("Jobs", .timeLimit(.minutes(3)))
struct JobLoopTests {
    @Test("a time comes, its process runs with the run's number, and the next one does too")
    func runs() async throws {
        try await Bench.with { bench in
            try await bench.run([bench.loop(bench.job(Bench.brief))]) {
                bench.clock.advance(60)
                try await bench.expect("0:ok")
                bench.clock.advance(60)
                try await bench.expect("0:ok", "1:ok")
            }
            let fences = bench.log.compactMap { $0.split(separator: " ").last.flatMap { Int($0) } }
            #expect(fences.count == 2 && fences[0] < fences[1])
            #expect(bench.log[0].hasPrefix("start 2027-01-15T08:01:00Z "))
            #expect(bench.count("ok") == 2)
        }
    }

    @Test("forbid: a time that comes during a run is skipped, and says why")
    func forbid() async throws {
        try await Bench.with { bench in
            try await bench.run([bench.loop(bench.job(Bench.waiting))]) {
                bench.clock.advance(60)
                try await bench.expect("0:running")
                bench.clock.advance(60)
                try await bench.expect("0:running", "1:skipped")
                try bench.letGo()
                try await bench.expect("0:ok", "1:skipped")
                bench.clock.advance(60)
                try await bench.expect("0:ok", "1:skipped", "2:ok")
            }
            #expect(try await bench.runs()[1].detail == "the run of 2027-01-15T08:01:00Z was still going")
            #expect(bench.log.count == 2)
            #expect(bench.count("skipped") == 1)
        }
    }

    @Test("queue-one: one time waits for the run that is going, the next ones are skipped")
    func queueOne() async throws {
        try await Bench.with { bench in
            try await bench.run([bench.loop(bench.job(Bench.waiting, "concurrency = \"queue-one\""))]) {
                bench.clock.advance(60)
                try await bench.expect("0:running")
                bench.clock.advance(60)
                try await bench.expect("0:running", "1:queued")
                bench.clock.advance(60)
                try await bench.expect("0:running", "1:queued", "2:skipped")
                try bench.letGo()
                try await bench.expect("0:ok", "1:ok", "2:skipped")
            }
            #expect(bench.log.count == 2)
        }
    }

    @Test("a time that waits is started by another scheduler when its own is gone")
    func queueOutlives() async throws {
        try await Bench.with { bench in
            let job = try bench.job(Bench.waiting, "concurrency = \"queue-one\"")
            try await bench.run([bench.loop(job)]) {
                bench.clock.advance(60)
                try await bench.expect("0:running")
                bench.clock.advance(60)
                try await bench.expect("0:running", "1:queued")
            }
            try bench.letGo()
            try await bench.run([bench.loop(job)]) {
                try await bench.expect("0:failed", "1:ok")
            }
        }
    }

    @Test("replace: the run that is going is told to stop, and only then the new one starts")
    func replace() async throws {
        try await Bench.with { bench in
            let script = "trap 'echo stop >> log; exit 1' TERM; " + Bench.waiting
            try await bench.run([bench.loop(bench.job(script, "concurrency = \"replace\""))]) {
                bench.clock.advance(60)
                try await eventually("it has started") { bench.log.count == 1 }
                bench.clock.advance(60)
                try await bench.expect("0:replaced", "1:running")
                try await eventually("it was stopped and the next one has started") { bench.log.count == 3 }
                try bench.letGo()
                try await bench.expect("0:replaced", "1:ok")
            }
            #expect(bench.log.map { String($0.prefix(5)) } == ["start", "stop", "start"])
            #expect(bench.count("replaced") == 1)
        }
    }

    @Test("replace: the scheduler of a run that another one has replaced stops it")
    func replaceElsewhere() async throws {
        try await Bench.with { bench in
            let other = TestClock()
            let script = "trap 'echo stop >> log; exit 1' TERM; " + Bench.waiting
            let job = try bench.job(script, "concurrency = \"replace\"")
            try await bench.run([bench.loop(job), bench.loop(job, clock: other)]) {
                bench.clock.advance(60)
                try await eventually("it has started") { bench.log.count == 1 }
                other.advance(120)
                try await eventually("it was stopped by its own scheduler") { bench.log.contains("stop") }
                try bench.letGo()
                try await bench.expect("0:replaced", "1:ok")
            }
        }
    }

    /// What three hours of downtime come to.
    static let outages = [
        ("coalesce", ["0:ok", "180:ok+179", "181:ok"]), ("skip", ["0:ok", "179:missed+178", "180:ok", "181:ok"]),
    ]

    @Test("three hours of downtime: one run for all, or none for those that are late", arguments: outages)
    func downtime(misfire: String, expected: [String]) async throws {
        try await Bench.with { bench in
            let job = try bench.job(Bench.brief, "misfire = \"\(misfire)\"")
            try await bench.run([bench.loop(job)]) {
                bench.clock.advance(60)
                try await bench.expect("0:ok")
            }
            bench.clock.advance(3 * 3_600)
            try await bench.run([bench.loop(job)]) {
                try await eventually("it has caught up") { try await bench.history() == Array(expected.dropLast()) }
                bench.clock.advance(60)
                try await eventually("the next run comes") { try await bench.history() == expected }
            }
            #expect(bench.count("missed") == 179)
        }
    }

    @Test("all: every time that passed is run, in order")
    func catchUp() async throws {
        try await Bench.with { bench in
            let job = try bench.job(Bench.brief, "misfire = \"all\"\nconcurrency = \"queue-one\"")
            try await bench.run([bench.loop(job)]) {
                bench.clock.advance(60)
                try await bench.expect("0:ok")
            }
            bench.clock.advance(5 * 60)
            try await bench.run([bench.loop(job)]) {
                try await bench.expect("0:ok", "1:ok", "2:ok", "3:ok", "4:ok", "5:ok")
            }
            #expect(bench.log == bench.log.sorted())
        }
    }

    @Test("two schedulers on one database run every time once")
    func twoSchedulers() async throws {
        try await Bench.with { bench in
            let job = try bench.job(Bench.brief)
            try await bench.run([bench.loop(job), bench.loop(job), bench.loop(job)]) {
                for minute in 0..<20 {
                    bench.clock.advance(60)
                    try await eventually("minute \(minute) is done") {
                        try await bench.history().last == "\(minute):ok"
                    }
                }
            }
            #expect(try await bench.history() == (0..<20).map { "\($0):ok" })
            #expect(Set(bench.log).count == 20 && bench.log.count == 20)
        }
    }

    @Test("a claim whose answer was lost is found to stand, and the run is run once")
    func lostAnswer() async throws {
        try await Bench.with { bench in
            let address = try TestDatabase.address(of: bench.shop.url)
            let proxy = try FaultProxy(host: address.host, port: address.port)
            defer { proxy.stop() }
            let pool = PostgresPool(
                configuration: try PostgresConfiguration(
                    url: TestDatabase.url(bench.shop.url, throughPort: proxy.port),
                    applicationName: "scheduler"
                ),
                maximumConnections: 2,
                logger: Bench.quiet
            )
            try await bench.run([bench.loop(bench.job(Bench.brief), pool: pool)]) {
                proxy.cutNext(Array("COMMIT".utf8), .toClient, .beforeForwarding)
                bench.clock.advance(60)
                try await bench.expect("0:ok")
                #expect(proxy.cuts == 1)
            }
            #expect(bench.log.count == 1)
            await pool.close()
        }
    }

    @Test("the run of a scheduler that is not heard of any more is lost, and the next one comes")
    func lostRun() async throws {
        try await Bench.with { bench in
            let dead = try await bench.abandon("job")
            let lost = LostRuns(store: bench.store, metrics: bench.metrics, logger: Bench.quiet, pace: Bench.pace)
            let watch = Task { await lost.run() }
            try await bench.expect("0:lost")
            watch.cancel()
            #expect(bench.count("lost") == 1)
            bench.clock.advance(120)
            try await bench.run([bench.loop(bench.job(Bench.brief))]) { try await bench.expect("0:lost", "1:ok") }
            // The dead one comes back: its number is no longer the newest.
            #expect(try await !bench.store.beat("job", fence: dead, deadline: .now + Shop.timeout))
            let late = JobRunStore.Ending(result: .ok, exitCode: 0, signal: nil, detail: "late")
            #expect(
                try await !bench.store.finish("job", fence: dead, at: .now, late, deadline: .now + Shop.timeout)
            )
            try await bench.expect("0:lost", "1:ok")
        }
    }

    @Test("runs that were lost while no scheduler was there are counted and logged once, whoever finds them")
    func lostInDowntime() async throws {
        try await Bench.with { bench in
            for job in ["job", "other"] { _ = try await bench.abandon(job) }
            bench.clock.advance(3 * 3_600)
            let (job, messages) = (try bench.job(Bench.brief), Messages())
            // Nobody looks but the claims of one of the two jobs, by three schedulers.
            try await bench.run((0..<3).map { _ in bench.loop(job, logger: messages.logger) }) {
                try await bench.expect("0:lost", "179:ok+178")
            }
            #expect((bench.count("lost"), bench.count("lost", of: "other")) == (1, 1))
            #expect(messages.all.count { $0 == "run lost" } == 2, "\(messages.all)")
        }
    }

    @Test("a run that was given up too soon goes on when its scheduler is heard of again")
    func revived() async throws {
        try await Bench.with { bench in
            try await bench.run([bench.loop(bench.job(Bench.waiting))]) {
                bench.clock.advance(60)
                try await bench.expect("0:running")
                try await bench.execute(
                    """
                    UPDATE job_runs
                    SET result = 'lost', finished_at = started_at, heartbeat_at = now() - interval '1 h'
                    """
                )
                try await bench.expect("0:running")
                try bench.letGo()
                try await bench.expect("0:ok")
            }
        }
    }

    @Test("a process whose run has become another's is stopped, and its result is not taken")
    func fenced() async throws {
        try await Bench.with { bench in
            let script = "trap 'echo stop >> log; exit 0' TERM; " + Bench.waiting
            try await bench.run([bench.loop(bench.job(script))]) {
                bench.clock.advance(60)
                try await eventually("it has started") { bench.log.count == 1 }
                // Another scheduler takes it for dead and starts the next time.
                try await bench.execute(
                    """
                    UPDATE job_runs SET result = 'lost', finished_at = started_at;
                    INSERT INTO job_runs (job, scheduled_for, started_at, result, owner, fence, heartbeat_at)
                    VALUES ('job', '2027-01-15T08:02:00Z', now(), 'running', gen_random_uuid(),
                        nextval('job_run_fence'), now() + interval '1 h');
                    """
                )
                try await eventually("it is stopped") { bench.log.contains("stop") }
                try await eventually("its end is counted") { bench.count("replaced") == 1 }
            }
            #expect(try await bench.history() == ["0:lost", "1:running"])
        }
    }

    @Test("while the database is down nothing is lost but time")
    func databaseDown() async throws {
        try await Bench.with { bench in
            let address = try TestDatabase.address(of: bench.shop.url)
            let proxy = try FaultProxy(host: address.host, port: address.port)
            defer { proxy.stop() }
            let pool = PostgresPool(
                configuration: try PostgresConfiguration(
                    url: TestDatabase.url(bench.shop.url, throughPort: proxy.port),
                    applicationName: "scheduler"
                ),
                maximumConnections: 2,
                logger: Bench.quiet
            )
            try await bench.run([bench.loop(bench.job(Bench.waiting), pool: pool)]) {
                bench.clock.advance(60)
                try await eventually("it has started") { bench.log.count == 1 }
                proxy.pause()
                proxy.cutAll()
                // The process ends, and ten times pass, while nobody can be told.
                try bench.letGo()
                bench.clock.advance(600)
                try await Task.sleep(for: .seconds(1))
                #expect(try await bench.history() == ["0:running"])
                proxy.resume()
                // The ten come to one run, unless the end of the first one is noted after they are looked at.
                try await eventually("all is noted") {
                    let history = try await bench.history()
                    return history == ["0:ok", "10:ok+9"] || history == ["0:ok", "10:skipped+9"]
                }
                bench.clock.advance(60)
                try await eventually("the next run comes") { try await bench.history().last == "11:ok" }
            }
            await pool.close()
        }
    }

    @Test("a time in the far future, of a clock that was wrong once, stops nothing")
    func wrongClock() async throws {
        try await Bench.with { bench in
            try await bench.execute(
                """
                INSERT INTO job_runs (job, scheduled_for, started_at, finished_at, result)
                VALUES ('job', '2099-01-01T00:00:00Z', now(), now(), 'ok')
                """
            )
            try await bench.run([bench.loop(bench.job(Bench.brief))]) {
                bench.clock.advance(60)
                try await eventually("it runs") { try await bench.history().first == "0:ok" }
            }
        }
    }
}

/// Whatever Redis does, PostgreSQL decides: each time runs once.
@Suite("The lock of a job", .timeLimit(.minutes(3)))
struct JobLockTests {
    private static let life = Duration.milliseconds(600)

    private func redis(_ url: String) throws -> RedisClient {
        RedisClient(configuration: try RedisConfiguration(url: url), logger: Bench.quiet)
    }

    private var serverURL: String {
        get throws {
            let url = try #require(
                ProcessInfo.processInfo.environment["JUMUN_TEST_REDIS_URL"],
                "JUMUN_TEST_REDIS_URL is not set: run the tests with `make test`"
            )
            return String(url[...(url.lastIndex(of: "/") ?? url.startIndex)]) + "6"
        }
    }

    /// Two schedulers and five times; `during` is said while the first run is going.
    private func expectEachOnce(_ url: String, during: () async throws -> Void = {}) async throws {
        try await Bench.with { bench in
            let job = try bench.job(Bench.waiting)
            let loops = try (0..<2).map { _ in
                bench.loop(job, lock: JobLock(try redis(url), life: Self.life, logger: Bench.quiet))
            }
            try await bench.run(loops) {
                bench.clock.advance(60)
                try await eventually("the first has started") { bench.log.count == 1 }
                try await during()
                #expect(bench.log.count == 1)
                try bench.letGo()
                for minute in 0..<5 {
                    try await eventually("minute \(minute) is done", within: .seconds(30)) {
                        try await bench.history().last == "\(minute):ok"
                    }
                    if minute < 4 { bench.clock.advance(60) }
                }
            }
            #expect(try await bench.history() == (0..<5).map { "\($0):ok" })
            #expect(bench.log.count == 5)
        }
    }

    @Test("it is held during a run, longer than its life, and given back afterwards")
    func held() async throws {
        let client = try redis(serverURL)
        _ = try await client.send(["FLUSHDB"], deadline: .now + .seconds(5))
        let lock = JobLock(client, life: Self.life, logger: Bench.quiet)
        let hold = try #require(await lock.acquire("held"))
        let keeper = Task { await lock.keep(hold) }
        let start = ContinuousClock.now
        // Waits for as long as anybody waits, which is some lives of the lock.
        let other = await JobLock(try redis(serverURL), life: Self.life, logger: Bench.quiet).acquire("held")
        #expect(other == nil)
        #expect(ContinuousClock.now - start >= JobLock.patience)
        keeper.cancel()
        await lock.release(hold)
        #expect(try await client.send(["EXISTS", hold.key], deadline: .now + .seconds(5)) == .integer(0))
    }

    @Test("nobody gives back what has become another's")
    func token() async throws {
        let client = try redis(serverURL)
        let lock = JobLock(client, life: Self.life, logger: Bench.quiet)
        let hold = try #require(await lock.acquire("token"))
        _ = try await client.send(["SET", hold.key, "another's"], deadline: .now + .seconds(5))
        await lock.release(hold)
        #expect(try await client.send(["GET", hold.key], deadline: .now + .seconds(5)).string == "another's")
        _ = try await client.send(["DEL", hold.key], deadline: .now + .seconds(5))
    }

    @Test("each time runs once with the lock")
    func inOrder() async throws {
        try await expectEachOnce(serverURL)
    }

    @Test("each time runs once when Redis is flushed during a run")
    func flushed() async throws {
        let url = try serverURL
        try await expectEachOnce(url) {
            _ = try await redis(url).send(["FLUSHDB"], deadline: .now + .seconds(5))
        }
    }

    @Test("each time runs once when Redis is paused for longer than the lock lives")
    func paused() async throws {
        let url = try serverURL
        try await expectEachOnce(url) {
            _ = try await redis(url).send(["CLIENT", "PAUSE", "2500", "ALL"], deadline: .now + .seconds(5))
            try await Task.sleep(for: Self.life * 2)
        }
    }

    @Test("each time runs once when there is no Redis")
    func down() async throws {
        try await expectEachOnce("redis://127.0.0.1:1/0")
    }

    @Test(
        "each time runs once when Redis answers wrongly, or not at all",
        arguments: ["+OK\r\n", ":1\r\n", ":0\r\n", "$-1\r\n", "-ERR no\r\n", "-OOM full\r\n", "nonsense\r\n", ""]
    )
    func lies(answer: String) async throws {
        let server = try FakeServer { peer in
            peer.acceptLogin()
            while !peer.read().isEmpty { peer.write(answer) }
        }
        try await expectEachOnce(server.url)
    }
}
