import AMQP
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import Operations
import OpsMetrics
import OrderMessages
import Postgres
import Redis
import ServiceRuntime
import Testing

@testable import OrderAPI

/// Who gets in, from where, and what browsers are told.
@Suite("Console: access")
struct ConsoleAccessTests {
    private static let token = "a-token-of-the-tests-that-is-long-enough"
    private static let port = 8085
    private static let now = Date(timeIntervalSince1970: 1_800_000_000)

    // MARK: Who

    @Test(
        "nobody gets in without the token",
        arguments: ["", "Bearer", "Bearer wrong-token-of-the-tests-long-enough", "Basic Og=="]
    )
    func refusesStrangers(authorization: String) async throws {
        try await withConsole { client in
            let headers: HTTPFields = authorization.isEmpty ? [:] : [.authorization: authorization]
            for path in ["/snapshot", "/events", "/orders", "/dead-letters"] {
                let answer = try await client.execute(uri: "/console/api\(path)", method: .get, headers: headers)
                #expect(answer.status == .unauthorized, "\(path)")
                #expect(try code(answer) == "operator_only")
            }
            let page = try await client.execute(uri: "/console", method: .get, headers: headers)
            #expect(page.status == .seeOther && page.headers[.location] == "/console/sign-in")
        }
    }

    @Test("a program gets in with the token, and needs nothing else to change something")
    func takesPrograms() async throws {
        try await withConsole { client in
            for scheme in ["Bearer", "bearer"] {
                let headers: HTTPFields = [.authorization: "\(scheme) \(Self.token)"]
                let answer = try await client.execute(uri: "/console/api/snapshot", method: .get, headers: headers)
                #expect(answer.status == .ok)
                let change = try await client.execute(uri: "/console/api/redrives", method: .post, headers: headers)
                #expect(try change.status == .unprocessableContent && code(change) == "validation_failed")
            }
        }
    }

    @Test("the token in the form gives a cookie that scripts and other sites cannot use, and that lets in")
    func signsIn() async throws {
        try await withConsole { client in
            let answer = try await signIn(client)
            #expect(answer.status == .seeOther && answer.headers[.location] == "/console")
            let cookie = try #require(answer.headers[.setCookie])
            for part in ["jumun_console_8085=", "HttpOnly", "SameSite=Strict", "Path=/console"] {
                #expect(cookie.contains(part), "\(cookie)")
            }
            #expect(!cookie.contains(Self.token))
            let headers = try cookieHeaders(answer)
            let page = try await client.execute(uri: "/console", method: .get, headers: headers)
            #expect(page.status == .ok && String(buffer: page.body).contains("<title>Jumun console</title>"))
            #expect(
                try await client.execute(uri: "/console/api/snapshot", method: .get, headers: headers).status == .ok
            )

            let out = try await client.execute(uri: "/console/sign-out", method: .post, headers: headers)
            #expect(out.status == .seeOther && out.headers[.setCookie]?.contains("Max-Age=0") == true)
        }
    }

    @Test("a wrong token in the form is told so, after ten of them with 429; the right one is taken all the while")
    func slowsGuessing() async throws {
        try await withConsole { client in
            for _ in 0..<OperatorAccess.maximumFailuresPerMinute {
                let answer = try await signIn(client, token: "wrong")
                #expect(answer.status == .unauthorized && answer.headers[.setCookie] == nil)
                #expect(String(buffer: answer.body).contains("This is not the operator’s token."))
            }
            func snapshot(_ token: String) async throws -> TestResponse {
                let headers: HTTPFields = [.authorization: "Bearer \(token)"]
                return try await client.execute(uri: "/console/api/snapshot", method: .get, headers: headers)
            }
            for answer in [try await signIn(client, token: "wrong"), try await snapshot("wrong")] {
                #expect(answer.status == .tooManyRequests && answer.headers[.retryAfter] == "60")
                #expect(try code(answer) == "too_many_wrong_tokens")
            }
            #expect(try await signIn(client).status == .seeOther)
            #expect(try await snapshot(Self.token).status == .ok)
        }
        let access = OperatorAccess(token: Self.token, port: Self.port)
        let start = ContinuousClock.now
        for _ in 0..<OperatorAccess.maximumFailuresPerMinute { #expect(try !access.isToken("wrong", at: start)) }
        #expect(throws: Problem.self) { try access.isToken("wrong", at: start + .seconds(59)) }
        #expect(try access.isToken(Self.token, at: start + .seconds(59)))
        #expect(try !access.isToken("wrong", at: start + .seconds(61)))
    }

    @Test("a cookie holds for its time, for its token, and as it was given")
    func cookiesAreSigned() throws {
        let access = OperatorAccess(token: Self.token, port: Self.port)
        let value = access.cookie(at: Self.now).value
        let end = Self.now.addingTimeInterval(Double(OperatorAccess.sessionSeconds))
        #expect(access.sessionEnd(value, at: Self.now) == end)
        #expect(access.sessionEnd(value, at: end.addingTimeInterval(-1)) == end)
        #expect(access.sessionEnd(value, at: end) == nil)
        #expect(OperatorAccess(token: Self.token, port: 1).sessionEnd(value, at: Self.now) == end)
        #expect(OperatorAccess(token: "another-token-of-it", port: Self.port).sessionEnd(value, at: Self.now) == nil)
        #expect(access.cookie(at: Self.now).value != value)

        let parts = value.split(separator: ".").map(String.init)
        let later = "\((Int(parts[0]) ?? 0) + 1)"
        for forged in [
            "", ".", "..", "\(later).\(parts[1]).\(parts[2])", "\(parts[0]).1.\(parts[2])", "\(parts[0]).\(parts[1])",
            "\(parts[0]).\(parts[1]).\(parts[2].dropLast(2))00", "\(parts[0]).\(parts[1]).", value + ".", value + "0",
            value.dropLast() + "g",
        ] where forged != value {
            #expect(access.sessionEnd(forged, at: Self.now) == nil, "\(forged)")
        }
    }

    @Test("a live stream ends with its session; the browser's next one is refused", .timeLimit(.minutes(1)))
    func streamsEndWithTheSession() async throws {
        try await withConsole(isLive: true) { client in
            let access = OperatorAccess(token: Self.token, port: Self.port)
            let end = Date().addingTimeInterval(3)
            let cookie = access.cookie(at: end.addingTimeInterval(-Double(OperatorAccess.sessionSeconds)))
            let headers: HTTPFields = [.cookie: "\(cookie.name)=\(cookie.value)"]
            let stream = try await client.execute(uri: "/console/api/events", method: .get, headers: headers)
            #expect(stream.status == .ok && (0...5).contains(Date().timeIntervalSince(end)))
            #expect(String(buffer: stream.body).contains("\ndata: {"))
            let again = try await client.execute(uri: "/console/api/events", method: .get, headers: headers)
            #expect(try again.status == .unauthorized && code(again) == "operator_only")
        }
    }

    // MARK: From where

    @Test("with the cookie, changes are taken from the console's own page alone")
    func refusesOtherSites() async throws {
        try await withConsole { client in
            let cookie = try cookieHeaders(try await signIn(client))
            func change(_ more: [(String, String)]) async throws -> TestResponse {
                var headers = cookie
                for (name, value) in more { headers[try #require(HTTPField.Name(name))] = value }
                return try await client.execute(uri: "/console/api/redrives", method: .post, headers: headers)
            }
            let mark = ("Jumun-Console", "1")
            for elsewhere in [
                [], [mark, ("Sec-Fetch-Site", "cross-site")], [mark, ("Sec-Fetch-Site", "same-site")],
                [mark, ("Origin", "http://evil.example")], [mark, ("Origin", "null")],
                [("Sec-Fetch-Site", "same-origin")],
            ] {
                let answer = try await change(elsewhere)
                #expect(try answer.status == .forbidden && code(answer) == "from_elsewhere", "\(elsewhere)")
            }
            // The mark and the same origin are enough; what is missing is a body.
            for own in [[mark], [mark, ("Sec-Fetch-Site", "same-origin")]] {
                #expect(try await change(own).status == .unprocessableContent, "\(own)")
            }
            let faults = try await client.execute(uri: "/console/api/platform/faults", method: .put, headers: cookie)
            #expect(faults.status == .forbidden)
        }
    }

    @Test("the console answers to its own names alone")
    func knowsItsHosts() {
        let hosts = KnownHosts(listeningOn: "::1")
        for own in ["localhost:8085", "127.0.0.1", "LOCALHOST", "[::1]:8085", "[::1]"] { #expect(hosts.knows(own)) }
        for other in ["evil.example:8085", "localhost.evil.example", "127.0.0.1.evil.example", "", ":8085", "[", nil] {
            #expect(!hosts.knows(other), "\(other ?? "none")")
        }
    }

    @Test("nobody is signed in or out by another site's page", arguments: ["/console/sign-in", "/console/sign-out"])
    func refusesForeignForms(path: String) async throws {
        try await withConsole { client in
            let site = try #require(HTTPField.Name.secFetchSite)
            for headers in [[site: "cross-site"], [.origin: "http://evil.example"]] as [HTTPFields] {
                let answer = try await client.execute(
                    uri: path,
                    method: .post,
                    headers: headers,
                    body: ByteBuffer(string: "token=\(Self.token)")
                )
                #expect(answer.status == .forbidden && answer.headers[.setCookie] == nil)
            }
        }
    }

    // MARK: What browsers are told

    @Test("every answer tells browsers to take nothing from elsewhere, and to show it in no frame")
    func headers() async throws {
        try await withConsole { client in
            let cookie = try cookieHeaders(try await signIn(client))
            let requests: [(String, HTTPRequest.Method, HTTPResponse.Status)] = [
                ("/", .get, .seeOther), ("/console", .get, .ok), ("/console/sign-in", .get, .ok),
                ("/console/assets/console.js", .get, .ok), ("/console/assets/console.css", .get, .ok),
                ("/console/assets/none.js", .get, .notFound), ("/nothing", .get, .notFound),
                ("/console/api/snapshot", .get, .ok), ("/console/api/snapshot", .head, .ok),
                ("/console/api/snapshot", .delete, .methodNotAllowed), ("/console", .put, .methodNotAllowed),
                ("/console/api/orders/1/trace", .get, .notFound),
            ]
            for (path, method, status) in requests {
                let answer = try await client.execute(uri: path, method: method, headers: cookie)
                #expect(answer.status == status, "\(method) \(path)")
                let policy = answer.headers[.contentSecurityPolicy] ?? ""
                for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
                    #expect(policy.contains(part), "\(path)")
                }
                #expect(!policy.contains("unsafe"), "\(path)")
                #expect(answer.headers[.xContentTypeOptions] == "nosniff", "\(path)")
                if status == .methodNotAllowed { #expect(answer.headers[.allow]?.contains("GET") == true, "\(path)") }
            }
        }
    }

    @Test("the pages have no script, style or handler within them, and ask for nothing elsewhere")
    func pagesArePlain() throws {
        let pages = [PackageResources.console_html, PackageResources.sign_in_html]
        for page in pages.map({ String(decoding: $0, as: UTF8.self) }) {
            #expect(page.matches(of: /<script(?![^>]*src="\/console\/assets\/)/).isEmpty)
            #expect(page.matches(of: /<style|\sstyle=|\son[a-z]+=|javascript:/).isEmpty)
            #expect(page.matches(of: /(src|href|action)="(?!\/console|#)/).isEmpty)
        }
        let modules = [
            PackageResources.console_js, PackageResources.chart_js, PackageResources.letters_js,
            PackageResources.page_js,
            PackageResources.pipeline_js, PackageResources.platform_js, PackageResources.trace_js,
        ]
        for module in modules.map({ String(decoding: $0, as: UTF8.self) }) {
            #expect(module.matches(of: /innerHTML|insertAdjacentHTML|eval\(|document\.write|\.style\b/).isEmpty)
            #expect(module.matches(of: /https?:(?!\/\/www\.w3\.org\/2000\/svg)/).isEmpty)
        }
    }

    // MARK: What it asks

    @Test(
        "what a redrive is asked for must be said right",
        arguments: [
            "", "{}", "[]", #"{"dryRun":"yes","all":true}"#, #"{"dryRun":true,"group":""}"#,
            #"{"dryRun":true,"all":true,"redriveId":""}"#, #"{"dryRun":true}"#, #"{"dryRun":true,"group":null}"#,
            #"{"dryRun":true,"all":false}"#, #"{"dryRun":true,"group":"a","all":true}"#,
            #"{"dryRun":true,"all":true,"expected":1}"#, #"{"dryRun":true,"gruop":"a","all":true}"#,
            #"{"dryRun":false,"all":true}"#, #"{"dryRun":false,"all":true,"expected":0}"#,
            #"{"dryRun":false,"all":true,"expected":1001}"#, #"{"dryRun":false,"all":true,"expected":"1"}"#,
        ]
    )
    func refusesUnreadableRedrives(body: String) async throws {
        try await withConsole { client in
            let answer = try await client.execute(
                uri: "/console/api/redrives",
                method: .post,
                headers: [.authorization: "Bearer \(Self.token)"],
                body: ByteBuffer(string: body)
            )
            #expect(try answer.status == .unprocessableContent && code(answer) == "validation_failed")
        }
    }

    @Test("a redrive deals with no more than was expected, and with all only when that is said")
    func readsRedrives() throws {
        func read(_ body: String) throws -> DeadLetterDesk.Order { try .init(parsing: Data(body.utf8)) }
        let all = try read(#"{"dryRun":true,"all":true}"#)
        #expect(all.selection == .all && all.dryRun && all.limit == DeadLetterDesk.maximumLetters)
        let one = try read(#"{"dryRun":false,"group":"a","expected":7,"redriveId":null}"#)
        #expect(one.selection == .group("a") && !one.dryRun && one.limit == 7 && one.redriveId == nil)
        #expect(throws: ValidationFailure.self) { try read(#"{"dryRun":false,"group":"a","exepcted":7}"#) }
    }

    @Test("a redrive that was cancelled before its turn sends nothing")
    func cancelledRedrive() async throws {
        let logger = Logger(label: "console-tests") { _ in SwiftLogNoOpLogHandler() }
        let desk = DeadLetterDesk(
            broker: try AMQPConfiguration(url: "amqp://nobody:none@127.0.0.1:1/none", connectionName: "test"),
            database: try PostgresConfiguration(url: "postgres://nobody@127.0.0.1:1/none", applicationName: "test"),
            consumer: try ConsumerClient(Settings(["CONSUMER_URL": "http://127.0.0.1:1"])),
            logger: logger
        )
        let redrive = Task {
            unsafe withUnsafeCurrentTask { unsafe $0?.cancel() }
            return try await desk.redrive(.init(parsing: Data(#"{"dryRun":true,"all":true}"#.utf8)))
        }
        let failure = await #expect(throws: ProcessFailure.self) { try await redrive.value }
        #expect(failure?.exitCode == ExitCode.temporaryFailure)
    }

    @Test("without a mock there are no switches, and what is away is said to be")
    func saysWhatIsAway() async throws {
        try await withConsole { client in
            let headers: HTTPFields = [.authorization: "Bearer \(Self.token)"]
            let faults = try await client.execute(
                uri: "/console/api/platform/faults",
                method: .put,
                headers: headers,
                body: ByteBuffer(string: #"{"mode":"down"}"#)
            )
            #expect(try faults.status == .notFound && code(faults) == "no_mock_platform")
            let letters = try await client.execute(uri: "/console/api/dead-letters", method: .get, headers: headers)
            #expect(try letters.status == .serviceUnavailable && code(letters) == "broker_unavailable")
            let snapshot = try await client.execute(uri: "/console/api/snapshot", method: .get, headers: headers)
            #expect(snapshot.status == .ok && snapshot.headers[.cacheControl] == "no-store")
        }
    }

    @Test("a console is had with a token alone, and not with a weak one")
    func settings() throws {
        #expect(try ConsoleSettings(Settings([:])) == nil)
        let settings = try #require(try ConsoleSettings(Settings(["OPERATOR_TOKEN": Self.token])))
        #expect(settings.host == "127.0.0.1" && settings.port == 8085 && settings.mockPlatform == nil)
        for weak in [
            String(repeating: "x", count: 31), String(repeating: "x", count: 201), Self.token + " ", Self.token + "ü",
        ] {
            #expect(throws: SettingsError.self) { try ConsoleSettings(Settings(["OPERATOR_TOKEN": weak])) }
        }
    }

    // MARK: Helpers

    /// A console whose servers and services are all away; a live one tells its viewers so each second.
    private func withConsole(
        isLive: Bool = false,
        _ test: @escaping @Sendable (any TestClientProtocol) async throws -> Void
    ) async throws {
        let logger = Logger(label: "console-tests") { _ in SwiftLogNoOpLogHandler() }
        let database = try PostgresConfiguration(url: "postgres://nobody@127.0.0.1:1/none", applicationName: "test")
        let broker = try AMQPConfiguration(url: "amqp://nobody:none@127.0.0.1:1/none", connectionName: "test")
        let pool = PostgresPool(configuration: database, maximumConnections: 1, logger: logger)
        let redis = RedisClient(configuration: try RedisConfiguration(url: "redis://127.0.0.1:1/0"), logger: logger)
        let consumer = try ConsumerClient(Settings(["CONSUMER_URL": "http://127.0.0.1:1"]))
        let sampler = ConsoleSampler(
            ConsoleSampler.Sources(
                pool: pool,
                inspector: AMQPInspector(configuration: broker, logger: logger),
                consumer: consumer,
                scheduler: SchedulerClient(base: "http://127.0.0.1:1"),
                mockPlatform: nil,
                popular: PopularProducts(redis: redis, pool: pool, logger: logger),
                orders: CommitMetrics(MetricsRegistry())
            )
        )
        let access = OperatorAccess(token: Self.token, port: Self.port)
        let routes = ConsoleRoutes(
            access: access,
            sampler: sampler,
            deadLetters: DeadLetterDesk(broker: broker, database: database, consumer: consumer, logger: logger),
            pool: pool,
            mockPlatform: nil
        )
        let router = Console.router(access: access, routes: routes, pool: pool, host: "127.0.0.1")
        let sampling = isLive ? Task { await sampler.run() } : nil
        defer { sampling?.cancel() }
        try await Application(router: router).test(.router) { client in try await test(client) }
    }

    private func signIn(_ client: any TestClientProtocol, token: String = token) async throws -> TestResponse {
        try await client.execute(
            uri: "/console/sign-in",
            method: .post,
            headers: [.contentType: "application/x-www-form-urlencoded"],
            body: ByteBuffer(string: "token=\(token)")
        )
    }

    private func cookieHeaders(_ answer: TestResponse) throws -> HTTPFields {
        let cookie = try #require(answer.headers[.setCookie])
        return [.cookie: String(cookie.prefix { $0 != ";" })]
    }

    private func code(_ answer: TestResponse) throws -> String? {
        struct Refusal: Decodable {
            let code: String
        }
        #expect(answer.headers[.contentType] == "application/problem+json")
        return try JSONDecoder().decode(Refusal.self, from: Data(answer.body.readableBytesView)).code
    }
}
