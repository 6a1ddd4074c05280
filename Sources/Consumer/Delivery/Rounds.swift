import FoundationEssentials

/// Whether events of one order keep their order on the way to the platform.
enum Ordering: String, CaseIterable, Sendable {
    /// A retry lets a later event of the order overtake.
    case none
    /// An event waits until those before it of its order are delivered, or given up.
    case key

    /// What only one request may carry at a time.
    func key(of event: ForwardedEvent) -> UUID {
        switch self {
        case .none: event.id
        case .key: event.orderID
        }
    }
}

/// Splits what must not be in one request.
enum Rounds {
    /// The elements in rounds: in each round every key once, elements of one key in their order.
    static func of<Element>(_ elements: [Element], key: (Element) -> UUID) -> [[Element]] {
        var rounds: [[Element]] = []
        var seen: [UUID: Int] = [:]
        for element in elements {
            let round = seen[key(element), default: 0]
            seen[key(element)] = round + 1
            if round == rounds.count { rounds.append([]) }
            rounds[round].append(element)
        }
        return rounds
    }
}
