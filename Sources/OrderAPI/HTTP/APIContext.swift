import FoundationEssentials
import Hummingbird
import Logging
import NIOCore
import OrderDomain
import Synchronization

/// What is known of a request while it is handled.
struct APIContext: RequestContext {
    /// How long a request may take from its head to its answer, its body included.
    static let timeout = Duration.seconds(10)

    var coreContext: CoreRequestContextStorage
    /// Writes the request's id on every line.
    var logger: Logger
    /// Names the request in the answer, in the logs and in problems.
    var requestID = ""
    /// The W3C trace context that came with it, if it was a valid one.
    var traceparent: String?
    /// The connection that it came on.
    let channel: any Channel
    /// When the request must have been answered.
    let deadline: ContinuousClock.Instant

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        logger = source.logger
        channel = source.channel
        deadline = .now + APIContext.timeout
    }
}
