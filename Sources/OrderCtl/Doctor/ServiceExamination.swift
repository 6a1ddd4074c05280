import Foundation
import NIOHTTP1
import Operations
import OrderMessages
import Redis
import ServiceRuntime

/// Looks at Redis, the consumer and the data platform.
struct ServiceExamination {
    private static let timeout = Duration.seconds(3)
    /// HTTP tells the time in whole seconds.
    private static let skewWarningSeconds = 3.0
    /// Standard Webhooks refuses what is signed five minutes off.
    private static let skewFailureSeconds = 240.0

    private let redis: RedisConfiguration?
    private let platform: String?

    init(_ settings: Settings) throws {
        let redisURL = try settings.string("REDIS_URL", default: "")
        redis = redisURL.isEmpty ? nil : try RedisConfiguration(url: redisURL)
        let platformURL = try settings.string("PLATFORM_URL", default: "")
        platform = platformURL.isEmpty ? nil : try settings.base("PLATFORM_URL")
    }

    func findings(lag: Result<ConsumerLag, ConsumerClient.Silent>) async -> [Finding] {
        async let redis = examineRedis()
        async let platform = examinePlatform()
        return await [redis, Self.consumer(lag), platform]
    }

    private func examineRedis() async -> Finding {
        guard let redis else { return .unknown("redis", "REDIS_URL is not set") }
        let client = RedisClient(configuration: redis, logger: OrderCtl.silence)
        let finding: Finding
        do {
            let info = try await client.send(["INFO", "memory"], deadline: .now + Self.timeout).string ?? ""
            finding = Self.redis(info)
        } catch {
            finding = .fail(
                "redis",
                "\(error)",
                "start it, or correct REDIS_URL; until then the popular list comes from PostgreSQL, marked stale"
            )
        }
        await client.close()
        return finding
    }

    /// What `INFO memory` says of eviction.
    static func redis(_ info: String) -> Finding {
        let pairs = info.split(whereSeparator: \.isNewline).map { $0.split(separator: ":", maxSplits: 1) }
        let values = Dictionary(pairs.filter { $0.count == 2 }.map { ($0[0], $0[1]) }) { first, _ in first }
        let limit = values["maxmemory"].flatMap { Int($0) } ?? 0
        let policy = values["maxmemory_policy"].map(String.init) ?? "unknown"
        guard limit == 0 || policy == "noeviction" else {
            return .warn(
                "redis",
                "reached; evicts by \(policy) when it is full",
                "maxmemory-policy noeviction: a list that is evicted silently looks like no sales"
            )
        }
        let size = limit == 0 ? "without a limit" : "of \(grouped(limit / 1_000_000)) MB"
        let used = values["used_memory"].flatMap { Int($0) } ?? 0
        return .ok("redis", "reached; \(grouped(used / 1_000_000)) MB used \(size), evicts nothing")
    }

    private static func consumer(_ lag: Result<ConsumerLag, ConsumerClient.Silent>) -> Finding {
        switch lag {
        case .success(let lag) where lag.isCircuitOpen:
            .warn("consumer", "its circuit is open: the data platform fails", "see what the platform says")
        case .success(let lag) where lag.status != "ok":
            .warn("consumer", "its status is \(lag.status)", "orderctl lag shows where events wait")
        case .success(let lag):
            .ok("consumer", "its status is ok, its circuit \(lag.circuit)")
        case .failure(let error) where error.isThere:
            .unknown("consumer", "\(error)")
        case .failure(let error):
            .fail("consumer", "\(error)", "start it, or correct CONSUMER_URL; events wait in the queue meanwhile")
        }
    }

    private func examinePlatform() async -> Finding {
        guard let platform else { return .unknown("data platform", "PLATFORM_URL is not set") }
        do {
            let before = Date()
            let answer = try await Web.get(platform + "/health/live")
            guard let text = answer.headers.first(name: "date"), let date = Self.httpDate(text) else {
                return .ok("data platform", "reached; does not say its time")
            }
            let skew = max(0, abs(date.timeIntervalSince(before)) - 1)
            let finding = "reached; its clock and this machine's differ by \(spoken(seconds: skew)) at least"
            let advice = "run an NTP client (chrony) here; signatures are refused when clocks differ by minutes"
            if skew > Self.skewFailureSeconds { return .fail("data platform", finding, advice) }
            return skew > Self.skewWarningSeconds
                ? .warn("data platform", finding, advice) : .ok("data platform", "reached; its clock agrees")
        } catch {
            return .warn(
                "data platform",
                "cannot be reached at \(platform)",
                "nothing to do here: events wait until it is back; otherwise correct PLATFORM_URL"
            )
        }
    }

    /// A time as HTTP writes it: `Sat, 31 Jan 2026 09:05:00 GMT`.
    static func httpDate(_ text: String) -> Date? {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let parts = text.split(separator: " ")
        guard parts.count == 6, let month = months.firstIndex(of: String(parts[2])), let day = Int(parts[1]) else {
            return nil
        }
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return Date(rfc3339: "\(parts[3])-\(two(month + 1))-\(two(day))T\(parts[4])Z")
    }
}
