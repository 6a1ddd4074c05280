-- POST /v1/orders of a random buyer for a random product.
-- Arguments: number of buyers, first product, last product, quantity.

require "summary"

local threads = 0

function setup(thread)
    threads = threads + 1
    thread:set("seed", os.time() * 1000 + threads) -- each thread draws numbers of its own
end

function init(args)
    math.randomseed(seed)
    buyers, first, last, quantity = tonumber(args[1]), tonumber(args[2]), tonumber(args[3]), args[4]
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
end

function request()
    local body = string.format('{"userId":%d,"items":[{"productId":%d,"quantity":%s}]}',
        math.random(buyers), math.random(first, last), quantity)
    return wrk.format(nil, nil, nil, body)
end
