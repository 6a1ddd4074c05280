import DequeModule
import FoundationEssentials
import OpsMetrics

/// What arrived at the platform, and how it misbehaves at the moment.
///
/// Everything is in memory and bounded. Beyond ``maximumIDs`` the oldest ids are forgotten, so that a repeat of one of
/// them counts as new; beyond ``maximumBodies`` or ``maximumBodyBytes`` the oldest events are no longer shown.
actor Platform {
    /// The most ids that repeats are recognised by.
    static let maximumIDs = 1_000_000
    /// The most events that are shown.
    static let maximumBodies = 100_000
    /// The most bytes of the events that are shown.
    static let maximumBodyBytes = 128 * 1024 * 1024
    /// The most requests that are left without an answer at once; more are cut off at once.
    static let maximumHanging = 1_000

    /// `GET /v1/stats`, since the start or the last `DELETE /v1/events`.
    struct Statistics: Encodable, Equatable {
        /// All `POST /v1/events`.
        var requests = 0
        /// All events of the requests that were accepted.
        var events = 0
        /// Events whose id was new.
        var unique = 0
        /// Events whose id was there already.
        var duplicates = 0
        /// Requests that were not accepted, whether through a fault or a mistake.
        var refused = 0
    }

    struct StoredEvent: Sendable {
        let subject: String
        let json: [UInt8]
        let receivedAt: Date
    }

    /// What is to become of a request before it is read.
    enum Admission {
        case handle(delay: Duration)
        case refuse(status: Int, retryAfter: Int?)
        case hang
        case cutOff
    }

    /// What became of the events of a request.
    enum Receipt {
        case stored(new: Int, repeated: Int)
        case rejected(subject: String)
    }

    private(set) var faults = Faults()
    private(set) var statistics = Statistics()
    private var ids: Set<String> = []
    private var idsByAge: Deque<String> = []
    private var events: Deque<StoredEvent> = []
    private var eventBytes = 0
    private var hanging = 0
    private let maximumIDs: Int
    private let maximumBodies: Int
    private let requestsTotal: MetricFamily<Counter>
    private let eventsTotal: MetricFamily<Counter>
    private let hangingGauge: Gauge

    init(
        metrics: MetricsRegistry,
        maximumIDs: Int = Platform.maximumIDs,
        maximumBodies: Int = Platform.maximumBodies
    ) {
        self.maximumIDs = maximumIDs
        self.maximumBodies = maximumBodies
        requestsTotal = metrics.counter(
            "platform_requests_total",
            help: "POST /v1/events by result: accepted, invalid, rejected, refused, hung.",
            labels: ["result"]
        )
        eventsTotal = metrics.counter(
            "platform_events_total",
            help: "Events accepted: new, or repeats of a known id.",
            labels: ["kind"]
        )
        hangingGauge = metrics.gauge("platform_hanging_requests", help: "Requests that are left without an answer.")
    }

    /// Replaces the faults; requests that hang are cut off when the new mode is another one.
    func set(_ faults: Faults) {
        self.faults = faults
    }

    /// Counts a request and applies the faults to it.
    func admit() -> Admission {
        statistics.requests += 1
        switch faults.mode {
        case .ok, .reject:
            return .handle(delay: .zero)
        case .slow:
            return .handle(delay: .milliseconds(faults.latencyMs))
        case .flaky where Double.random(in: 0..<1) >= faults.rate:
            return .handle(delay: .zero)
        case .down, .flaky:
            refuse("refused")
            return .refuse(status: faults.status, retryAfter: faults.retryAfterS)
        case .hang:
            refuse("hung")
            guard hanging < Self.maximumHanging else { return .cutOff }
            hanging += 1
            hangingGauge.set(Double(hanging))
            return .hang
        }
    }

    /// Must follow each ``Admission/hang`` once.
    func endHanging() {
        hanging -= 1
        hangingGauge.set(Double(hanging))
    }

    /// Counts a request whose content was refused.
    func refuseInvalid() {
        refuse("invalid")
    }

    /// Takes the events of a request: all of them, or none where a subject is to be rejected.
    func receive(_ incoming: [IncomingEvent], at time: Date) -> Receipt {
        if faults.mode == .reject {
            let subjects = Set(faults.subjects)
            if let event = incoming.first(where: { subjects.contains($0.subject) }) {
                refuse("rejected")
                return .rejected(subject: event.subject)
            }
        }
        var new = 0
        for event in incoming where remember(event.id) {
            new += 1
            show(StoredEvent(subject: event.subject, json: Array(event.json), receivedAt: time))
        }
        let repeated = incoming.count - new
        statistics.events += incoming.count
        statistics.unique += new
        statistics.duplicates += repeated
        requestsTotal.with("accepted").increment()
        eventsTotal.with("new").increment(by: Double(new))
        eventsTotal.with("repeated").increment(by: Double(repeated))
        return .stored(new: new, repeated: repeated)
    }

    /// The last events that arrived, in the order of their arrival; a repeat is not shown again.
    func recent(subject: String?, limit: Int) -> [StoredEvent] {
        let matching = events.reversed().lazy.filter { subject == nil || $0.subject == subject }
        return matching.prefix(limit).reversed()
    }

    /// Forgets events, ids and statistics; the faults stay.
    func forgetAll() {
        statistics = Statistics()
        ids = []
        idsByAge = []
        events = []
        eventBytes = 0
    }

    private func refuse(_ result: String) {
        statistics.refused += 1
        requestsTotal.with(result).increment()
    }

    /// Whether the id is new.
    private func remember(_ id: String) -> Bool {
        guard ids.insert(id).inserted else { return false }
        idsByAge.append(id)
        if idsByAge.count > maximumIDs { ids.remove(idsByAge.removeFirst()) }
        return true
    }

    private func show(_ event: StoredEvent) {
        events.append(event)
        eventBytes += event.json.count
        while events.count > maximumBodies || eventBytes > Self.maximumBodyBytes {
            eventBytes -= events.removeFirst().json.count
        }
    }
}
