import Foundation
import OrderDomain
import OrderMessages

/// What `aggregator run` and `aggregator rebuild` say.
struct RunReport: Sendable {
    let run: AggregationRun
    /// From the start to the saved run, without publishing it.
    let duration: Duration
    let result: RankingPublisher.Result

    private var milliseconds: Int { Int(duration / .milliseconds(1)) }

    func print(as format: Aggregator.Format) throws {
        switch format {
        case .text: Swift.print(text)
        case .json: Swift.print(try encoded(JSON(self)))
        }
    }

    private var text: String {
        let published =
            switch result.publication {
            case .published: "yes"
            case .superseded: "no, a newer run stands"
            case .failed: "no"
            }
        return """
            run               \(run.version.run)
            trigger           \(run.trigger.rawValue)
            rows read         \(run.rowsRead)
            products touched  \(run.productsTouched)
            window            \(run.window.mode.rawValue)
            window from       \(run.window.from.rfc3339)
            window to         \(run.window.to.rfc3339)
            duration          \(milliseconds) ms
            published         \(published)
            """
    }

    private struct JSON: Encodable {
        let run: Int64
        let trigger: String
        let rowsRead: Int64
        let productsTouched: Int64
        let windowMode: String
        let windowFrom: String
        let windowTo: String
        let durationMs: Int
        let published: Bool
        let problem: String?

        init(_ report: RunReport) {
            run = report.run.version.run
            trigger = report.run.trigger.rawValue
            rowsRead = report.run.rowsRead
            productsTouched = report.run.productsTouched
            windowMode = report.run.window.mode.rawValue
            windowFrom = report.run.window.from.rfc3339
            windowTo = report.run.window.to.rfc3339
            durationMs = report.milliseconds
            published = report.result.publication == .published
            problem = report.result.problem
        }
    }
}
