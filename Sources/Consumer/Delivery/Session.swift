import AMQP
import ServiceLifecycle
import Synchronization

/// Why a session takes no more.
enum StopReason: Sendable, Equatable {
    /// The platform fails.
    case circuitOpen
    /// A probe succeeded: the next session is a wide one.
    case circuitClosed
    /// The inbox can't be reached.
    case inbox
    /// The broker doesn't take what is to be moved to another queue.
    case broker
    /// A message came with which consumers have died.
    case suspicion
    /// No such message has come for a while.
    case allClear
    case shutdown
}

/// How much a session takes at once.
struct SessionLimits: Sendable, Equatable {
    let prefetch: Int
    let batchSize: Int
    let batchWait: Duration
    let requests: Int

    /// One message after another.
    static let one = SessionLimits(prefetch: 1, batchSize: 1, batchWait: .zero, requests: 1)
}

/// Consumes from the first delivery until something says stop; then settles all that it has taken.
///
/// Stopping is `basic.cancel`: what is here and not begun moves to the shortest retry tier, so that nothing stays in
/// hand while the platform is away, and nothing is counted.
final class Session: Sendable {
    enum Mode: Sendable, Equatable {
        /// As much as the settings say.
        case wide
        /// One event, to see whether the platform is back.
        case probe
        /// One message after another, since one of them may be deadly.
        case careful
    }

    /// How long after the last suspicious message a careful session ends.
    static let carefulTime = Duration.seconds(10)
    private static let cancelTimeout = Duration.seconds(1)

    let mode: Mode
    private let limits: SessionLimits
    private let consumer: AMQPConsumer
    private let circuit: Circuit
    private let slots = Slots()
    private let stopReason = Mutex<StopReason?>(nil)

    init(mode: Mode, limits: SessionLimits, consumer: AMQPConsumer, circuit: Circuit) {
        self.mode = mode
        self.limits = limits
        self.consumer = consumer
        self.circuit = circuit
    }

    /// Runs; returns why it stopped once everything is settled or left for the broker.
    func run(_ forwarder: BatchForwarder) async -> StopReason {
        await withGracefulShutdownHandler {
            await consume(forwarder)
        } onGracefulShutdown: {
            Task { await self.stop(.shutdown) }
        }
        return stopReason.withLock { $0 } ?? .shutdown
    }

    /// Takes no more, where the reason is one for this session.
    func stop(_ reason: StopReason) async {
        // A wide session goes on while the circuit is closed; a careful one too.
        if reason == .circuitClosed, mode != .probe { return }
        let isFirst = stopReason.withLock { stopReason in
            // The process ends, whatever else there was.
            if reason == .shutdown { stopReason = reason }
            defer { stopReason = stopReason ?? reason }
            return stopReason == nil || reason == .shutdown
        }
        guard isFirst else { return }
        // What waits for a slot has to be moved out of the way, however long the batches under way take.
        slots.lift()
        await consumer.cancel(deadline: .now + Self.cancelTimeout)
    }

    private var isStopped: Bool { stopReason.withLock { $0 != nil } }

    private func consume(_ forwarder: BatchForwarder) async {
        await withDiscardingTaskGroup { group in
            var suspectedAt = ContinuousClock.now
            while true {
                await slots.wait { min(limits.requests, circuit.allowance) }
                let batch = await consumer.batch(upTo: limits.batchSize, waiting: limits.batchWait)
                if batch.isEmpty || Task.isCancelled { return }
                if await isToBeLeft(batch, forwarder, &suspectedAt) { continue }
                slots.take()
                group.addTask { [slots] in
                    await forwarder.forward(batch)
                    slots.giveBack()
                }
            }
        }
    }

    /// Deals with what is not to be forwarded now; whether that was so.
    private func isToBeLeft(
        _ batch: [AMQPDelivery],
        _ forwarder: BatchForwarder,
        _ suspectedAt: inout ContinuousClock.Instant
    ) async -> Bool {
        let isSuspicious = batch.contains { $0.crashes >= DeliveryPolicy.suspiciousCrashes }
        if isSuspicious {
            suspectedAt = .now
            if mode == .wide { await stop(.suspicion) }
        } else if mode == .careful, suspectedAt.duration(to: .now) > Self.carefulTime {
            await stop(.allClear)
        }
        if isStopped {
            // The process ends: what is not begun goes back to the queue with the connection.
            if !Task.isShuttingDownGracefully { await forwarder.setAside(batch) }
            return true
        }
        guard let first = batch.first, first.crashes >= DeliveryPolicy.maximumCrashes else { return false }
        await forwarder.giveUp(first, .crashes(first.crashes))
        return true
    }
}
