import NIOCore
import NIOHTTP1

/// The request did not arrive whole in time; thrown to whoever reads its body.
package struct RequestTooSlow: Error {}

/// The body of the request is no HTTP; thrown to whoever reads it.
package struct RequestMalformed: Error {}

/// Puts a ``RequestDeadline`` right behind the HTTP decoder.
final class RequestDeadlineInstaller: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    private let drain: Drain

    init(drain: Drain) {
        self.drain = drain
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let pipeline = context.pipeline.syncOperations
        do {
            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            try pipeline.addHandler(RequestDeadline(drain: drain), position: .after(decoder))
        } catch {
            context.fireErrorCaught(error)
        }
    }
}

/// Cuts off clients that do not send their request whole in time, answers what is no HTTP, and while the process drains
/// ends each connection with its next answer.
///
/// A request that arrives in one piece costs no timer: one is set only once something is found to be incomplete.
private final class RequestDeadline: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum Arriving { case nothing, head, body }

    private let drain: Drain
    private var arriving = Arriving.nothing
    /// Whether the last read brought parts of a request.
    private var hasReadParts = false
    private var unanswered = 0
    private var closesAfterAnswer = false
    /// When what is arriving must be there.
    private var deadline: NIODeadline?
    private var timer: Scheduled<Void>?

    init(drain: Drain) {
        self.drain = drain
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { expect(.nothing, context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { stop() }

    func channelActive(context: ChannelHandlerContext) {
        expect(.nothing, context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        stop()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        hasReadParts = true
        switch unwrapInboundIn(data) {
        case .head(let head):
            if unanswered == 0, head.headers[canonicalForm: "expect"].contains("100-continue") {
                let goOn = HTTPResponseHead(version: .http1_1, status: .continue)
                context.writeAndFlush(wrapOutboundOut(.head(goOn)), promise: nil)
            }
            unanswered += 1
            // A head that took its time leaves less for the body.
            if arriving != .head { deadline = nil }
            arriving = .body
        case .body: break
        case .end:
            arriving = .nothing
            deadline = nil
        }
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if arriving == .body {
            if deadline == nil { expect(.body, context) }
        } else if !hasReadParts, arriving == .nothing {
            deadline = nil
            expect(.head, context)
        }
        hasReadParts = false
        context.fireChannelReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        closesAfterAnswer = true
        guard let error = error as? HTTPParserError else {
            context.fireErrorCaught(error)
            return
        }
        guard unanswered == 0 else {
            context.fireErrorCaught(RequestMalformed())
            return
        }
        switch error {
        case .headerOverflow: refuse(.requestHeaderFieldsTooLarge, "header_too_large", context)
        default: refuse(.badRequest, "malformed_request", context)
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(var head) where drain.hasBegun && head.status != .continue:
            // Of several requests that came at once only the last answer may close.
            guard unanswered <= 1 else { break }
            closesAfterAnswer = true
            head.headers.replaceOrAdd(name: "Connection", value: "close")
            context.write(wrapOutboundOut(.head(head)), promise: promise)
            return
        case .end:
            writeEnd(context, data, promise)
            return
        case .head, .body: break
        }
        context.write(data, promise: promise)
    }

    private func writeEnd(_ context: ChannelHandlerContext, _ data: NIOAny, _ promise: EventLoopPromise<Void>?) {
        unanswered -= 1
        if closesAfterAnswer {
            context.writeAndFlush(data, promise: promise)
            context.close(promise: nil)
        } else {
            context.write(data, promise: promise)
        }
    }

    private func expect(_ next: Arriving, _ context: ChannelHandlerContext) {
        arriving = next
        if deadline == nil { deadline = .now() + TimeAmount(HTTPLimits.requestTimeout) }
        if timer == nil, let deadline { setTimer(deadline, context) }
    }

    private func setTimer(_ time: NIODeadline, _ context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: time) {
            self.timer = nil
            guard let deadline = self.deadline else { return }
            if deadline > .now() { self.setTimer(deadline, context) } else { self.cutOff(context) }
        }
    }

    private func stop() {
        timer?.cancel()
        timer = nil
        deadline = nil
    }

    private func cutOff(_ context: ChannelHandlerContext) {
        deadline = nil
        closesAfterAnswer = true
        switch arriving {
        case .body where unanswered > 0: context.fireErrorCaught(RequestTooSlow())
        case .head where unanswered == 0: refuse(.requestTimeout, "request_timeout", context)
        default: if unanswered == 0 { context.close(promise: nil) }
        }
    }

    /// Answers a request of which nobody else knows, and closes.
    private func refuse(_ status: HTTPResponseStatus, _ code: String, _ context: ChannelHandlerContext) {
        let id = connectionRequestID()
        var problem = JSONObjectText()
        problem.add("type", "/problems/\(code)")
        problem.add("title", status.reasonPhrase)
        problem.add("status", json: "\(status.code)")
        problem.add("detail", "the request cannot be read; the connection is closed")
        problem.add("code", code)
        problem.add("requestId", id)
        let body = ByteBuffer(string: problem.finished)
        let headers: HTTPHeaders = [
            "Content-Type": "application/problem+json", "Content-Length": "\(body.readableBytes)",
            "Connection": "close", "X-Request-Id": id,
        ]
        let head = HTTPResponseHead(version: .http1_1, status: status, headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        context.close(promise: nil)
    }

    /// 128 random bits in hexadecimal digits.
    private func connectionRequestID() -> String {
        let (high, low) = (UInt64.random(in: .min ... .max), UInt64.random(in: .min ... .max))
        return [high, low].map { String(repeating: "0", count: $0.leadingZeroBitCount / 4) + String($0, radix: 16) }
            .joined()
    }
}
