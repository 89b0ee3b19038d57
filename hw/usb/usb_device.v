// The protocol of a USB device with one pair of bulk endpoints that carries a pipe of bytes each way: hw/link behind a USB cable. Lines and bits are
// usb_fs.v's or usb_ulpi.v's.
//
//   r_*: bytes of packets --> tokens, data, handshakes --> OUT FIFO --> m_byte
//   t_*: packets out      <-- handshakes, descriptors, IN FIFO     <-- s_byte
//
// USB 2.0 chapters 8 and 9: enumeration, address, configuration, status, halt of each endpoint, data toggles, retries; at high speed PING and NYET. Both
// FIFOs keep what is not acknowledged: OUT bytes become visible when the packet's CRC is right, IN bytes are forgotten when the host has them. A packet
// that is sent again has the same bytes. After a full packet with nothing behind it comes an empty one, so that the host's transfer ends.
//
// `fresh` is the state after a bus reset. Parameters: HIGH 1 for a device that knows both speeds; SERIAL, eight characters; FIFO_BITS address bits of each FIFO,
// 9 or more (HIGH: 10); TURN clocks, 2 to 31, from the end of a packet to the answer.
`default_nettype none
module usb_device #(
    parameter        HIGH      = 0,
    parameter [63:0] SERIAL    = "heddle00",
    parameter        FIFO_BITS = 9,
    parameter [4:0]  TURN      = 5'd17
) (
    input  wire       clk,
    input  wire       fresh,
    // verilator lint_off UNUSEDSIGNAL
    input  wire       high,         // the speed; HIGH only
    // verilator lint_on UNUSEDSIGNAL
    // packets from the host
    input  wire       r_start,
    input  wire       r_valid,
    input  wire [7:0] r_data,
    input  wire       r_stop,
    input  wire       r_sound,
    input  wire       r_crc5,
    input  wire       r_crc16,
    // packets to the host: t_go starts one of t_pid, with bytes while t_more, each taken in the cycle of t_next
    output reg        t_go,
    output reg  [3:0] t_pid,
    output wire       t_with_data,
    output wire       t_more,
    output wire [7:0] t_data,
    input  wire       t_next,
    // bytes from and to the host
    output wire       m_byte_valid,
    input  wire       m_byte_ready,
    output wire [7:0] m_byte_data,
    input  wire       s_byte_valid,
    output wire       s_byte_ready,
    input  wire [7:0] s_byte_data,
    output reg        configured
);
`include "heddle_contract.vh"
    // verilator lint_off UNUSEDPARAM
    localparam [3:0] OUT = 4'b0001, IN = 4'b1001, SETUP = 4'b1101, PING = 4'b0100, DATA0 = 4'b0011, ACK = 4'b0010, NAK = 4'b1010, NYET = 4'b0110, STALL = 4'b1110;
    // verilator lint_on UNUSEDPARAM
    generate if (FIFO_BITS < (HIGH != 0 ? 10 : 9)) begin : g_rule FIFO_BITS_must_be_9_or_more_and_10_with_HIGH bad(); end endgenerate
    localparam FB = FIFO_BITS;

    // ---- packets
    reg [3:0]  pid;
    reg        pid_good, in_body;               // in_body: bytes after the PID
    reg [3:0]  body;                            // how many, up to 15
    reg [7:0]  new_byte, old_byte;              // the last two: a token, or the CRC of data
    always @(posedge clk)
        if (r_start) begin
            in_body <= 1'b0; body <= 4'd0;
        end else if (r_valid) begin
            in_body <= 1'b1;
            if (!in_body) begin
                pid <= r_data[3:0]; pid_good <= r_data[3:0] == ~r_data[7:4];
            end else begin
                new_byte <= r_data; old_byte <= new_byte;
                if (!(&body)) body <= body + 1'b1;
            end
        end
    wire       payload = r_valid && in_body && body >= 4'd2;     // old_byte is data, not CRC
    wire       good = r_stop && r_sound && pid_good;
    wire [3:0] target = {new_byte[2:0], old_byte[7]};

    // ---- transactions
    reg [6:0]  address;
    reg [3:0]  token;
    reg        bulk;                            // the transaction's endpoint: 0 control, 1 bulk
    reg        want_data, want_ack;
    reg        toggle_0, toggle_in, toggle_out, halt_in, halt_out;
    reg [4:0]  wait_left;                       // clocks until the answer goes out
    wire       is_token = good && pid[1:0] == 2'b01 && body == 4'd2 && r_crc5 && old_byte[6:0] == address && target[3:1] == 3'd0 &&
                          (pid == IN || pid == OUT || pid == SETUP);
    wire       is_ping = HIGH != 0 && high && good && pid == PING && body == 4'd2 && r_crc5 && old_byte[6:0] == address && target == 4'd1 && configured;
    wire       is_data = good && pid[2:0] == 3'b011 && body >= 4'd2 && r_crc16 && want_data;
    wire       is_ack = good && pid == ACK && body == 4'd0 && want_ack;
    wire       is_setup = is_data && token == SETUP && !bulk && pid == DATA0 && body == 4'd10;
    wire       out_bulk = is_data && token == OUT && bulk;
    wire       out_whole;
    wire       out_fresh = pid[3] == toggle_out;
    wire       more_room;                       // for another packet
    reg        out_room;                        // for a whole packet, when the packet began
    wire       take_out = out_bulk && configured && !halt_out && out_fresh && out_room && out_whole;

    // ---- control requests
    reg [7:0]  r_type, r_request, r_index;
    reg [15:0] r_value, r_length;
    reg        decode, r_stall, r_set_address, r_other;        // r_other: what it would be at the other speed
    reg [6:0]  r_at, r_count;                   // of the answer: where in the ROM, bytes
    reg        r_small, r_bit;                  // an an answer of one or two bytes, r_bit the only one that is not 0
    always @(posedge clk)
        if (payload && token == SETUP && want_data)
            case (body)
                4'd2: r_type <= old_byte;
                4'd3: r_request <= old_byte;
                4'd4: r_value[7:0] <= old_byte;
                4'd5: r_value[15:8] <= old_byte;
                4'd6: r_index <= old_byte;
                4'd8: r_length[7:0] <= old_byte;
                4'd9: r_length[15:8] <= old_byte;
                default: ;
            endcase
    wire [6:0] asked = |r_length[15:6] ? 7'd64 : {1'b0, r_length[5:0]};
    wire       at_in = r_index == HD_USB_IN[7:0], at_out = r_index == HD_USB_OUT[7:0];
    reg  [6:0] d_at, d_count;
    reg        d_known, d_small, d_bit, d_other;
    always @* begin
        d_at = 7'd0; d_count = 7'd0; d_known = 1'b0; d_small = 1'b0; d_bit = 1'b0; d_other = 1'b0;
        case ({r_type, r_request})
            16'h8006: case (r_value)                                                                       // GET_DESCRIPTOR
                16'h0100: begin d_known = 1'b1; d_at = 7'd0; d_count = 7'd18; end
                16'h0200: begin d_known = 1'b1; d_at = 7'd18; d_count = 7'd32; end
                16'h0300: begin d_known = 1'b1; d_at = 7'd50; d_count = 7'd4; end
                16'h0301: begin d_known = 1'b1; d_at = 7'd54; d_count = 7'd14; end
                16'h0302: begin d_known = 1'b1; d_at = 7'd68; d_count = 7'd24; end
                16'h0303: begin d_known = 1'b1; d_at = 7'd92; d_count = 7'd18; end
                16'h0600: begin d_known = HIGH != 0; d_at = 7'd110; d_count = 7'd10; end
                16'h0700: begin d_known = HIGH != 0; d_at = 7'd18; d_count = 7'd32; d_other = 1'b1; end
                default: ;
            endcase
            16'h8000, 16'h8100: begin d_known = 1'b1; d_small = 1'b1; d_count = 7'd2; end                  // GET_STATUS of device, interface
            16'h8200: begin d_known = r_index[6:1] == 6'd0; d_small = 1'b1; d_count = 7'd2; d_bit = (at_in && halt_in) || (at_out && halt_out); end
            16'h8008: begin d_known = 1'b1; d_small = 1'b1; d_count = 7'd1; d_bit = configured; end        // GET_CONFIGURATION
            16'h810a: begin d_known = configured; d_small = 1'b1; d_count = 7'd1; end                      // GET_INTERFACE
            16'h0005: d_known = r_value[15:7] == 9'd0;                                                     // SET_ADDRESS
            16'h0009: d_known = r_value[15:1] == 15'd0;                                                    // SET_CONFIGURATION
            16'h010b: d_known = configured && r_value == 16'd0;                                            // SET_INTERFACE
            16'h0201, 16'h0203: d_known = r_value == 16'd0 && (at_in || at_out || r_index[6:0] == 7'd0);   // CLEAR_FEATURE, SET_FEATURE: ENDPOINT_HALT
            default: ;
        endcase
    end
    wire       set_halt = decode && d_known && {r_type, r_request} == 16'h0203, clear_halt = decode && d_known && {r_type, r_request} == 16'h0201;
    wire       set_configuration = decode && d_known && {r_type, r_request} == 16'h0009;
    wire       set_interface = decode && d_known && {r_type, r_request} == 16'h010b;

    // ---- the IN side of a transaction
    reg  [9:0] left, in_count;                  // bytes of the packet still to send; of the bulk packet that is not acknowledged
    reg        in_again, in_empty_due;          // that packet; an empty one must follow a full one
    wire [FB:0] in_waiting;
    wire       in_some = |in_waiting || in_empty_due;
    wire [9:0] full = HIGH != 0 && high ? 10'd512 : 10'd64;
    wire [9:0] in_most = (HIGH != 0 && high ? |in_waiting[FB:9] : |in_waiting[FB:6]) ? full : HIGH != 0 && high ? {1'b0, in_waiting[8:0]} : {4'd0, in_waiting[5:0]};
    wire       acked_bulk = is_ack && bulk;
    always @(posedge clk) begin
        t_go <= 1'b0; decode <= 1'b0;
        if (fresh) begin
            address <= 7'd0; configured <= 1'b0; want_data <= 1'b0; want_ack <= 1'b0; wait_left <= 5'd0;
            {toggle_0, toggle_in, toggle_out, halt_in, halt_out, in_again, in_empty_due} <= 7'd0;
            r_stall <= 1'b0; r_set_address <= 1'b0; r_count <= 7'd0; token <= 4'd0; bulk <= 1'b0;
        end else begin
            if (wait_left != 5'd0) wait_left <= wait_left - 1'b1;
            t_go <= wait_left == 5'd1;
            if (t_next) left <= left - 1'b1;
            if (r_stop) begin
                want_data <= 1'b0; want_ack <= 1'b0;
            end
            if (is_token) begin
                token <= pid; bulk <= target[0];
                want_data <= pid != IN;
                if (pid == IN) begin
                    wait_left <= TURN;
                    if (!target[0]) begin
                        t_pid <= r_stall ? STALL : {toggle_0, DATA0[2:0]}; left <= {3'd0, r_count}; want_ack <= !r_stall;
                    end else if (halt_in || !configured) t_pid <= halt_in ? STALL : NAK;
                    else if (in_again || in_some) begin
                        t_pid <= {toggle_in, DATA0[2:0]}; want_ack <= 1'b1; in_again <= 1'b1;
                        left <= in_again ? in_count : in_most; in_count <= in_again ? in_count : in_most;
                    end else t_pid <= NAK;
                end
            end
            if (is_ping) begin
                t_pid <= halt_out ? STALL : more_room ? ACK : NAK; wait_left <= TURN;
            end
            if (is_data) begin
                if (is_setup) begin
                    t_pid <= ACK; wait_left <= TURN; decode <= 1'b1; toggle_0 <= 1'b1;
                end else if (token == OUT && !bulk) begin
                    t_pid <= r_stall ? STALL : ACK; wait_left <= TURN;
                end else if (out_bulk && configured) begin
                    t_pid <= halt_out ? STALL : take_out && HIGH != 0 && high && !more_room ? NYET : !out_fresh || take_out ? ACK : NAK; wait_left <= TURN;
                    if (take_out) toggle_out <= !toggle_out;
                end
            end
            if (decode) begin
                r_stall <= !d_known;
                r_at <= d_at; r_count <= d_count < asked ? d_count : asked; r_small <= d_small; r_bit <= d_bit; r_other <= d_other;
                r_set_address <= d_known && {r_type, r_request} == 16'h0005;
                if (set_configuration) configured <= r_value[0];
                if (set_halt && at_in) halt_in <= 1'b1;
                if (set_halt && at_out) halt_out <= 1'b1;
                if (set_configuration || set_interface || (clear_halt && at_in)) begin
                    halt_in <= 1'b0; toggle_in <= 1'b0;
                end
                if (set_configuration || set_interface || (clear_halt && at_out)) begin
                    halt_out <= 1'b0; toggle_out <= 1'b0;
                end
            end
            if (is_ack && !bulk) begin
                toggle_0 <= !toggle_0; r_count <= 7'd0;
                if (r_set_address) address <= r_value[6:0];
                r_set_address <= 1'b0;
            end
            if (acked_bulk) begin
                toggle_in <= !toggle_in; in_again <= 1'b0; in_empty_due <= in_count == full;
            end
        end
    end

    // ---- descriptors
    reg [7:0] rom [0:127];
    reg [6:0] rom_at;
    reg [7:0] rom_byte;
    reg       first_byte;
    integer i;
    initial begin
        for (i = 0; i < 128; i = i + 1) rom[i] = 8'd0;
        // device: USB 2.0, class of its interface, EP0 of 64 bytes
        rom[0] = 8'd18; rom[1] = 8'd1; rom[3] = 8'd2; rom[7] = 8'd64;
        rom[8] = HD_USB_VENDOR[7:0]; rom[9] = HD_USB_VENDOR[15:8]; rom[10] = HD_USB_PRODUCT[7:0]; rom[11] = HD_USB_PRODUCT[15:8];
        rom[13] = HD_CONTRACT_VERSION[7:0]; rom[14] = 8'd1; rom[15] = 8'd2; rom[16] = 8'd3; rom[17] = 8'd1;
        // configuration (bus powered, 500 mA), interface (vendor's class), endpoints
        rom[18] = 8'd9; rom[19] = 8'd2; rom[20] = 8'd32; rom[22] = 8'd1; rom[23] = 8'd1; rom[25] = 8'h80; rom[26] = 8'd250;
        rom[27] = 8'd9; rom[28] = 8'd4; rom[31] = 8'd2; rom[32] = 8'hff; rom[33] = 8'hff; rom[34] = 8'hff;
        rom[36] = 8'd7; rom[37] = 8'd5; rom[38] = HD_USB_OUT[7:0]; rom[39] = 8'd2; rom[40] = HD_USB_FULL_SPEED_PACKET[7:0];
        rom[43] = 8'd7; rom[44] = 8'd5; rom[45] = HD_USB_IN[7:0]; rom[46] = 8'd2; rom[47] = HD_USB_FULL_SPEED_PACKET[7:0];
        // device qualifier, of devices that know both speeds
        rom[110] = 8'd10; rom[111] = 8'd6; rom[113] = 8'd2; rom[117] = 8'd64; rom[118] = 8'd1;
        // strings: languages (English), maker, product, serial number
        rom[50] = 8'd4; rom[51] = 8'd3; rom[52] = 8'h09; rom[53] = 8'h04;
        rom[54] = 8'd14; rom[55] = 8'd3; rom[56] = "h"; rom[58] = "e"; rom[60] = "d"; rom[62] = "d"; rom[64] = "l"; rom[66] = "e";
        rom[68] = 8'd24; rom[69] = 8'd3;
        rom[70] = "a"; rom[72] = "c"; rom[74] = "c"; rom[76] = "e"; rom[78] = "l"; rom[80] = "e"; rom[82] = "r"; rom[84] = "a"; rom[86] = "t"; rom[88] = "o"; rom[90] = "r";
        rom[92] = 8'd18; rom[93] = 8'd3;
        for (i = 0; i < 8; i = i + 1) rom[94 + 2*i] = SERIAL[(7 - i)*8 +: 8];
    end
    // The packet size of both endpoints is that of the speed.
    wire [6:0] rom_next = is_token ? r_at : rom_at + {6'd0, t_next};
    wire size_low = rom_next == 7'd40 || rom_next == 7'd47, size_high = rom_next == 7'd41 || rom_next == 7'd48, big = high ^ r_other;
    always @(posedge clk) begin
        rom_at <= rom_next;
        rom_byte <= HIGH == 0 ? rom[rom_next] : size_low && big ? HD_USB_HIGH_SPEED_PACKET[7:0] : size_high && big ? HD_USB_HIGH_SPEED_PACKET[15:8]
                  : rom_next == 7'd19 && r_other ? 8'd7 : rom[rom_next];
        if (is_token) first_byte <= 1'b1;
        else if (t_next) first_byte <= 1'b0;
    end

    // ---- FIFOs
    wire [7:0] in_byte;
    assign t_data = bulk ? in_byte : r_small ? {7'd0, r_bit && first_byte} : rom_byte;
    assign t_with_data = t_pid[2:0] == DATA0[2:0];
    assign t_more = |left;
    wire       out_write = payload && want_data && token == OUT && bulk;
    wire [FB:0] out_free, out_waiting;
    fifo_commit #(.BITS(FB)) u_out (
        .clk(clk), .clear(fresh), .write(out_write), .w_data(old_byte), .w_commit(take_out), .w_abandon(r_start), .free(out_free), .whole(out_whole),
        .read(m_byte_valid && m_byte_ready), .r_data(m_byte_data), .r_valid(m_byte_valid), .r_commit(1'b1), .r_abandon(1'b0), .waiting(out_waiting));
    assign more_room = HIGH != 0 && high ? |out_free[FB:9] : |out_free[FB:6];
    always @(posedge clk) if (is_token) out_room <= more_room;
    wire [FB:0] in_free;
    wire in_valid, in_whole;
    fifo_commit #(.BITS(FB)) u_in (
        .clk(clk), .clear(fresh), .write(s_byte_valid && s_byte_ready), .w_data(s_byte_data), .w_commit(1'b1), .w_abandon(1'b0), .free(in_free), .whole(in_whole),
        .read(t_next && bulk), .r_data(in_byte), .r_valid(in_valid), .r_commit(acked_bulk), .r_abandon(is_token), .waiting(in_waiting));
    assign s_byte_ready = |in_free;
    wire unused = &{1'b0, in_valid, in_whole, out_waiting, out_free};
endmodule
`default_nettype wire
