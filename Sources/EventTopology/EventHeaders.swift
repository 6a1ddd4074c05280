/// The AMQP headers of an event, beside the CloudEvent in its body.
package enum EventHeaders {
    /// When the order changed, in milliseconds since 1970 (a 64-bit integer).
    package static let occurredAtMs = "x-occurred-at-ms"
    /// How many attempts to deliver it have failed; absent before the first.
    package static let attempt = "x-attempt"
    /// How often it was in a consumer's hands when that died, counted over the queues that it has moved through since;
    /// absent while that is 0.
    package static let crashes = "x-crashes"
    /// The W3C trace context, if the order came with one.
    package static let traceparent = "traceparent"
}
