// The host's side of docs/link.md for tests, written from that page alone: requests are queued, sent in a window, and sent again from the
// number the board expects after an error. Byte in, byte out, and a clock for time-outs; whoever uses it owns the pipe.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

extern "C" {
#include "../../sw/contract/contract.h"
}

struct Request {
    int op;
    unsigned space = 0;
    uint32_t address = 0;
    std::vector<uint32_t> words; // WRITE: what to write; READ: as many as to read, then what was read
    uint32_t cycles = 0;         // RUN, when known
    bool cycles_known = false;
};

class Host {
  public:
    // timeout: clocks without a reply before requests are sent again.
    explicit Host(uint64_t timeout) : timeout_(timeout) {}

    std::function<void(const Request &)> done;
    uint64_t repeats = 0; // requests sent again
    std::vector<int> refused; // statuses REQUEST that came; such a request is dropped
    void add(Request r) { queue_.push_back(std::move(r)); }
    bool idle() const { return queue_.empty(); }
    // Open again, as after a lost connection: what was under way is asked for once more.
    void sync(uint32_t nonce) {
        synced_ = false;
        nonce_ = nonce;
        sent_ = 0;
        out_.clear();
        push_header(HD_LINK_OP_SYNC, 0, 0, 0, nonce);
        silent_ = 0;
    }
    // The next byte to send; false when there is none now.
    bool next(uint8_t &byte) {
        if (out_.empty()) fill();
        if (out_.empty()) return false;
        byte = out_.front();
        out_.pop_front();
        silent_ = 0;
        return true;
    }
    void receive(uint8_t byte) {
        silent_ = 0;
        in_.push_back(byte);
        while (parse()) {}
    }
    void clock() {
        if (queue_.empty() && synced_) return;
        if (++silent_ < timeout_) return;
        silent_ = 0;
        in_.clear();
        quiet_ = false;
        if (!synced_) sync(nonce_ + 1);
        else {
            repeats += sent_;
            sent_ = 0; // from the first that has no reply
        }
    }
    static uint32_t crc(const uint8_t *p, size_t n) {
        uint32_t c = 0xffffffffu;
        for (size_t i = 0; i < n; i++)
            for (int b = 0; b < 8; b++) {
                uint32_t bit = (c ^ (p[i] >> b)) & 1;
                c = (c >> 1) ^ (bit ? 0xedb88320u : 0);
            }
        return ~c;
    }

  private:
    static void put32(std::vector<uint8_t> &v, uint32_t x) {
        for (int i = 0; i < 4; i++) v.push_back(static_cast<uint8_t>(x >> (8 * i)));
    }
    static uint32_t get32(const uint8_t *p) { return p[0] | p[1] << 8 | p[2] << 16 | static_cast<uint32_t>(p[3]) << 24; }

    void push_header(int op, unsigned number, unsigned count, unsigned space, uint32_t address) {
        std::vector<uint8_t> h = {static_cast<uint8_t>(op | number << 4), static_cast<uint8_t>(count), static_cast<uint8_t>(count >> 8), static_cast<uint8_t>(space)};
        put32(h, address);
        put32(h, crc(h.data(), 8));
        out_.push_back(HD_LINK_REQUEST);
        out_.insert(out_.end(), h.begin(), h.end());
    }
    // Sends the next request when the window and the pipe allow it.
    void fill() {
        if (!synced_ || quiet_ || sent_ >= queue_.size() || sent_ >= HD_LINK_WINDOW) return;
        // Behind a READ nothing is sent: a READ that must be asked for again would see what came later. Behind a RUN all is told BUSY.
        if (sent_ > 0 && queue_[sent_ - 1].op != HD_LINK_OP_WRITE) return;
        const Request &r = queue_[sent_];
        unsigned number = (first_ + sent_) & 15;
        push_header(r.op, number, static_cast<unsigned>(r.words.size()), r.space, r.address);
        if (r.op == HD_LINK_OP_WRITE) {
            std::vector<uint8_t> body;
            for (uint32_t w : r.words) put32(body, w);
            put32(body, crc(body.data(), body.size()));
            out_.insert(out_.end(), body.begin(), body.end());
        }
        sent_++;
    }
    void complete() {
        if (done) done(queue_.front());
        queue_.pop_front();
        first_ = (first_ + 1) & 15;
        sent_--;
    }
    // Requests before `number` were executed. A READ among them brought no words: it stays, under a new number.
    void executed_before(unsigned number) {
        while (sent_ && first_ != number) {
            if (queue_.front().op == HD_LINK_OP_READ) {
                first_ = (first_ + 1) & 15;
                sent_--;
                return;
            }
            complete();
        }
    }
    // Nothing more is sent until the pipe is silent: replies to what is under way are of no use, but would start a second repetition.
    void go_back() {
        out_.clear();
        quiet_ = true;
    }
    void drop(size_t n) { in_.erase(in_.begin(), in_.begin() + static_cast<long>(n)); }
    bool parse() {
        while (!in_.empty() && in_[0] != HD_LINK_REPLY) drop(1);
        if (in_.size() < 13) return false;
        if (get32(&in_[9]) != crc(&in_[1], 8)) {
            drop(1);
            return true;
        }
        int status = in_[1] & 15, op = in_[4];
        unsigned number = in_[1] >> 4, count = in_[2] | in_[3] << 8;
        uint32_t address = get32(&in_[5]);
        if (count && in_.size() < 13 + 4 * size_t(count) + 4) return false;
        std::vector<uint32_t> words(count);
        bool sound = true;
        if (count) {
            for (unsigned i = 0; i < count; i++) words[i] = get32(&in_[13 + 4 * i]);
            sound = get32(&in_[13 + 4 * count]) == crc(&in_[13], 4 * count);
        }
        // Behind a damaged body there is no telling where the next reply begins: look from the header's end on.
        drop(13 + (count && sound ? 4 * size_t(count) + 4 : 0));
        handle(status, op, number, words, sound, address);
        return true;
    }
    void handle(int status, int op, unsigned number, const std::vector<uint32_t> &words, bool sound, uint32_t address) {
        if (!synced_) {
            if (op == HD_LINK_OP_SYNC && status == HD_LINK_STATUS_OK && address == nonce_) {
                synced_ = true;
                first_ = 1;
                sent_ = 0;
                quiet_ = false;
            }
            return;
        }
        unsigned ahead = (number - first_) & 15;
        if (status == HD_LINK_STATUS_NUMBER) {
            if (ahead <= sent_) executed_before(number);
            go_back();
            return;
        }
        if (ahead >= sent_) return; // of a request that was sent again meanwhile
        if (queue_[ahead].op != op) return;
        executed_before(number);
        if (first_ != number || !sent_) return;
        switch (status) {
        case HD_LINK_STATUS_OK: {
            Request &r = queue_.front();
            if (op == HD_LINK_OP_READ && (!sound || words.size() != r.words.size())) {
                first_ = (first_ + 1) & 15;
                sent_--;
                return;
            }
            if (op == HD_LINK_OP_READ) r.words = words;
            if (op == HD_LINK_OP_RUN) r.cycles = address, r.cycles_known = true;
            complete();
            return;
        }
        case HD_LINK_STATUS_REQUEST:
            refused.push_back(queue_.front().op);
            queue_.pop_front();
            sent_ = 0;
            go_back();
            return;
        default:
            go_back();
        }
    }
    uint64_t timeout_, silent_ = 0;
    bool synced_ = false, quiet_ = false;
    uint32_t nonce_ = 0;
    unsigned first_ = 1;  // number of queue_[0]
    size_t sent_ = 0;     // how many of queue_ are under way
    std::deque<Request> queue_;
    std::deque<uint8_t> out_;
    std::vector<uint8_t> in_;
};
