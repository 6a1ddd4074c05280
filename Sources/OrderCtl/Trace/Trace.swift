import ArgumentParser
import Foundation
import OrderDomain
import OrderMessages
import OrderStore
import Postgres
import ServiceRuntime

/// `orderctl trace`
struct Trace: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what became of an order's events: commit, confirm, every attempt, delivery or dead letter.",
        discussion: OrderCtl.environment
    )

    @Argument(help: "The order's id.")
    var orderID: String

    @Option(help: "text or json.")
    var format = OrderCtl.Format.text

    func validate() throws {
        guard UUID(uuidString: orderID) != nil else {
            throw ValidationError(
                "'\(orderID)' is no order id: expected a UUID such as 019c0a2f-5d10-7c3e-9a55-0c6f3f4b1a20"
            )
        }
    }

    func run() async throws {
        await ServiceProcess.main("orderctl") { settings, _ in
            guard let uuid = UUID(uuidString: orderID) else { return }
            let order = OrderID(uuid)
            let pool = PostgresPool(
                configuration: try ownerDatabase(settings),
                maximumConnections: 1,
                logger: OrderCtl.silence
            )
            let events = try await DeliveryTrail(pool).events(of: order, deadline: .now + .seconds(10))
            await pool.close()
            guard let events else { throw ProcessFailure("there is no order \(order.text)") }
            switch format {
            case .text: print(events.map { Timeline($0).text }.joined(separator: "\n\n"))
            case .json: print(try encoded(JSON(orderId: order.text, data: events.map(EventTrailAnswer.init))))
            }
        }
    }

    private struct JSON: Encodable {
        let orderId: String
        let data: [EventTrailAnswer]
    }
}
