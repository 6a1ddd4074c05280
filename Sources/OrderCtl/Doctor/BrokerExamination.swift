import AMQP
import EventTopology
import Foundation
import Operations
import ServiceRuntime

/// Looks at RabbitMQ: over AMQP for what AMQP can tell, over the management plugin, where there is one, for the rest.
struct BrokerExamination {
    private static let timeout = Duration.seconds(10)

    private let broker: AMQPConfiguration
    private let management: ManagementClient?

    init(_ settings: Settings) throws {
        broker = try OrderCtl.broker(settings)
        let url = try settings.string("RABBITMQ_MANAGEMENT_URL", default: "")
        management = url.isEmpty ? nil : try ManagementClient(settings)
    }

    /// - Parameter isHeldBack: whether the consumer takes nothing on purpose: its circuit is open, or half open.
    func findings(isHeldBack: Bool) async -> [Finding] {
        let inspector = AMQPInspector(configuration: broker, logger: OrderCtl.silence)
        var findings: [Finding]
        do {
            let topology = AMQPTopology.forwarding
            let deadline = ContinuousClock.now + Self.timeout
            let drift = try await inspector.drift(from: topology, deadline: deadline)
            let depths = try await inspector.depth(of: topology.queues.map(\.name), deadline: deadline)
            findings = [.ok("rabbitmq", "reached at \(broker)")] + Self.topology(drift, of: topology)
            findings.append(Self.consumers(depths[BrokerNames.forwardQueue], isHeldBack))
            findings.append(Self.deadLetters(ForwardingDepths(depths).deadLetters))
        } catch {
            findings = [
                .fail("rabbitmq", "\(error)", "start it, or correct AMQP_URL; until then events wait in the outbox")
            ]
        }
        await inspector.close(deadline: .now + .seconds(1))
        return findings + (await managed())
    }

    // MARK: Over AMQP

    private static func topology(_ drift: [AMQPTopologyDrift], of topology: AMQPTopology) -> [Finding] {
        guard !drift.isEmpty else {
            return [
                .ok(
                    "topology",
                    "\(topology.exchanges.count) exchanges and \(topology.queues.count) queues are as they should be"
                )
            ]
        }
        return drift.map { item in
            switch item.difference {
            case .missing:
                .fail(
                    "topology",
                    "the \(item.kind.rawValue) \(item.name) is missing",
                    "restart the consumer and order-api: they declare it when they connect"
                )
            case .other(let reason):
                .fail(
                    "topology",
                    "the \(item.kind.rawValue) \(item.name) is otherwise: \(shortened(reason, to: 200))",
                    "empty it, delete it, and restart the consumer and order-api: its type and arguments never change"
                )
            }
        }
    }

    private static func consumers(_ queue: QueueDepth?, _ isHeldBack: Bool) -> Finding {
        guard let queue, queue.consumers > 0 else {
            let finding = "nobody takes events from \(BrokerNames.forwardQueue)"
            return isHeldBack
                ? .warn(
                    "consumers",
                    finding + ": the consumer's circuit is not closed",
                    "wait until the data platform is back"
                )
                : .fail("consumers", finding, "start the consumer; events wait in the queue meanwhile")
        }
        return .ok(
            "consumers",
            "\(queue.consumers) on \(BrokerNames.forwardQueue), \(grouped(queue.ready)) events wait"
        )
    }

    private static func deadLetters(_ letters: ForwardingDepths.DeadLetters) -> Finding {
        switch letters {
        case .missing: .fail("dead letters", "their queue is missing", "restart the consumer: it declares its queues")
        case .walked:
            .unknown("dead letters", "somebody goes through them now, and has them all", "ask again in a moment")
        case .waiting(0): .ok("dead letters", "none")
        case .waiting(let count):
            .warn(
                "dead letters",
                "\(grouped(count)) wait for a person",
                "orderctl dlq list --group-by fingerprint, then dlq redrive or dlq purge"
            )
        }
    }

    // MARK: Over the management plugin

    private func managed() async -> [Finding] {
        guard let management else {
            return ["bindings", "alarms"].map {
                .unknown($0, "AMQP cannot tell", "set RABBITMQ_MANAGEMENT_URL, with the management plugin enabled")
            } + [Self.consumerTimeout]
        }
        do {
            let bindings = try await management.bindings(in: broker.virtualHost)
            return try await [Self.bindings(bindings)] + Self.alarms(management.nodes()) + [Self.consumerTimeout]
        } catch {
            return [
                .unknown("bindings, alarms", "\(error)", "correct RABBITMQ_MANAGEMENT_URL, or enable the plugin"),
                Self.consumerTimeout,
            ]
        }
    }

    private static func bindings(_ found: [ManagementClient.Binding]) -> Finding {
        let missing = AMQPTopology.forwarding.bindings.filter { wanted in
            !found.contains { binding in
                binding.source == wanted.exchange && binding.destination == wanted.queue
                    && binding.routingKey == wanted.routingKey
            }
        }
        guard !missing.isEmpty else {
            return .ok("bindings", "all \(AMQPTopology.forwarding.bindings.count) are there")
        }
        let names = missing.prefix(3).map { "\($0.exchange) → \($0.queue) (\($0.routingKey))" }
        return .fail(
            "bindings",
            "\(missing.count) missing: \(names.joined(separator: ", "))" + (missing.count > 3 ? ", …" : ""),
            "restart the consumer and order-api: they bind it when they connect; events wait in the outbox meanwhile"
        )
    }

    private static func alarms(_ nodes: [ManagementClient.Node]) -> [Finding] {
        nodes.map { node in
            var alarms: [String] = []
            if node.memoryAlarm == true { alarms.append("memory") }
            if node.diskAlarm == true { alarms.append("disk") }
            guard !alarms.isEmpty else {
                let memory = "\(megabytes(node.memoryUsed)) of memory used of at most \(megabytes(node.memoryLimit))"
                let disk = "\(megabytes(node.diskFree)) of disk free of at least \(megabytes(node.diskLimit))"
                return .ok("alarms", "none on \(node.name): \(memory), \(disk)")
            }
            return .fail(
                "alarms",
                "\(alarms.joined(separator: " and ")) on \(node.name): the broker takes no messages",
                "free memory or disk on its machine, or raise vm_memory_high_watermark or disk_free_limit; "
                    + "events wait in the outbox meanwhile"
            )
        }
    }

    private static func megabytes(_ bytes: Int64?) -> String {
        "\(grouped(Int((bytes ?? 0) / 1_000_000))) MB"
    }

    /// It can be read only on the broker's machine.
    private static let consumerTimeout = Finding.unknown(
        "consumer_timeout",
        "only the broker's machine tells; its default, 30 min, is right",
        "rabbitmqctl environment | grep consumer_timeout: at least 60000 ms, or be unset"
    )
}
