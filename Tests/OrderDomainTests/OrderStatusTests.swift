import OrderDomain
import Testing

@Suite("Order states")
struct OrderStatusTests {
    @Test("exactly five of the twenty-five changes are allowed")
    func table() {
        let allowed: Set<[OrderStatus]> = [
            [.paid, .preparing], [.preparing, .shipped], [.shipped, .delivered],
            [.paid, .cancelled], [.preparing, .cancelled],
        ]
        for from in OrderStatus.allCases {
            for to in OrderStatus.allCases {
                #expect(from.canBecome(to) == allowed.contains([from, to]), "\(from) to \(to)")
                #expect(from.successors.contains(to) == allowed.contains([from, to]), "\(from) to \(to)")
            }
        }
    }

    @Test("only PAID and PREPARING can be cancelled")
    func cancellation() {
        #expect(OrderStatus.allCases.filter { $0.canBecome(.cancelled) } == [.paid, .preparing])
    }

    @Test("every path ends in DELIVERED or CANCELLED, in at most three steps, and every state is reached")
    func everyPathEnds() {
        var (reached, paths): (Set<OrderStatus>, [[OrderStatus]]) = ([.paid], [[.paid]])
        while let path = paths.popLast() {
            guard let last = path.last, path.count <= 4 else {
                Issue.record("a path does not end: \(path)")
                return
            }
            reached.insert(last)
            if last.successors.isEmpty { #expect([.delivered, .cancelled].contains(last)) }
            paths += last.successors.map { path + [$0] }
        }
        #expect(reached == Set(OrderStatus.allCases))
    }

    @Test("the wire's names")
    func names() {
        #expect(
            OrderStatus.allCases.map(\.rawValue) == ["PAID", "PREPARING", "SHIPPED", "DELIVERED", "CANCELLED"]
        )
        #expect(BalanceEntry.Kind.allCases.map(\.rawValue) == ["CHARGE", "PAYMENT", "REFUND"])
        #expect(Payment.Status.allCases.map(\.rawValue) == ["PAID", "REFUNDED"])
        #expect(Product.Status.allCases.map(\.rawValue) == ["ACTIVE", "DISCONTINUED"])
    }
}
