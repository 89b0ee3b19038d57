// A USB device behind a ULPI transceiver, high speed where the host has it, else full speed: usb_device.v behind the eight-bit bus of the
// ULPI specification 1.1.
//
//   dir high: packets' bytes (nxt) and RXCMDs --> CRCs --> usb_device --> TXCMD, bytes, CRC16 --> dir low
//
// The transceiver makes SYNC, stuffing and EOP. This module sets it up by register writes, watches the lines in RXCMDs for reset and suspend, and does
// the chirps by which device and host find out that both know high speed (USB 2.0, 7.1.7.5).
//
// All at the transceiver's 60 MHz. `data_oe` is low while the transceiver drives the bus; the board's top makes the tri-state pins. Parameters: SERIAL, FIFO_BITS as in
// usb_device.v; MS clocks of a millisecond, US of a microsecond: tests shorten the waits.
`default_nettype none
module usb_ulpi #(
    parameter [63:0] SERIAL    = "heddle00",
    parameter        FIFO_BITS = 11,
    parameter        MS        = 60000,
    parameter        US        = 60
) (
    input  wire       clk,
    input  wire       rst_n,
    // the bus
    input  wire [7:0] data_i,
    output wire [7:0] data_o,
    output wire       data_oe,
    input  wire       dir,
    input  wire       nxt,
    output reg        stp,
    // bytes from and to the host
    output wire       m_byte_valid,
    input  wire       m_byte_ready,
    output wire [7:0] m_byte_data,
    input  wire       s_byte_valid,
    output wire       s_byte_ready,
    input  wire [7:0] s_byte_data,
    // state
    output wire       configured,
    output reg        high,         // high speed
    output reg        bus_reset,
    output reg        suspended
);
    localparam [1:0] SE0 = 2'd0, J = 2'd1, K = 2'd2;
    // Registers: function control, and OTG control with its pull-downs off.
    localparam [7:0] FUNCTION = 8'h84, OTG = 8'h8a;
    localparam [7:0] SET_FULL = 8'h45, SET_HIGH = 8'h40, SET_CHIRP = 8'h54;      // SuspendM high; speed, termination, OpMode

    // ---- from the transceiver
    reg dir_q;
    always @(posedge clk) dir_q <= dir;
    wire turning = dir != dir_q;
    wire command = dir && dir_q && !nxt;                // RXCMD
    reg [1:0] line;
    reg       active, failed;
    reg       r_start, r_valid, r_stop;
    reg [7:0] r_data;
    wire      begins = (turning && dir && nxt) || (command && data_i[4] && !active);
    wire      ends = active && (!dir || (command && !data_i[4]));
    always @(posedge clk) begin
        r_start <= 1'b0; r_valid <= 1'b0; r_stop <= 1'b0;
        if (!rst_n) begin
            active <= 1'b0; line <= J;
        end else begin
            if (command) line <= data_i[1:0];
            if (begins) begin
                active <= 1'b1; r_start <= 1'b1; failed <= 1'b0;
            end else if (ends) begin
                active <= 1'b0; r_stop <= 1'b1;
            end
            if (active && command && data_i[5:4] == 2'b11) failed <= 1'b1;
            if (active && dir && dir_q && nxt) begin
                r_valid <= 1'b1; r_data <= data_i;
            end
        end
    end

    // ---- CRCs, a byte at a time
    function [15:0] crc16_step(input [15:0] crc, input [7:0] byte_in);
        integer i;
        begin
            crc16_step = crc;
            for (i = 0; i < 8; i = i + 1)
                crc16_step = {1'b0, crc16_step[15:1]} ^ (crc16_step[0] ^ byte_in[i] ? 16'ha001 : 16'd0);
        end
    endfunction
    function [4:0] crc5_step(input [4:0] crc, input [7:0] byte_in);
        integer i;
        begin
            crc5_step = crc;
            for (i = 0; i < 8; i = i + 1)
                crc5_step = {1'b0, crc5_step[4:1]} ^ (crc5_step[0] ^ byte_in[i] ? 5'b10100 : 5'd0);
        end
    endfunction
    reg        in_body;
    reg [15:0] r_crc;
    reg [4:0]  r_crc_token;
    always @(posedge clk)
        if (r_start) begin
            in_body <= 1'b0; r_crc <= 16'hffff; r_crc_token <= 5'h1f;
        end else if (r_valid) begin
            in_body <= 1'b1;
            if (in_body) begin
                r_crc <= crc16_step(r_crc, r_data); r_crc_token <= crc5_step(r_crc_token, r_data);
            end
        end

    // ---- the device. Its answer begins 7 to 14 clocks after the packet: the link's share of the turnaround at both speeds.
    wire fresh = !rst_n || bus_reset;
    wire t_go, t_with_data, t_more;
    wire [7:0] t_data;
    wire [3:0] t_pid;
    wire t_next;
    usb_device #(.HIGH(1), .SERIAL(SERIAL), .FIFO_BITS(FIFO_BITS), .TURN(5'd6)) u_device (
        .clk(clk), .fresh(fresh), .high(high), .r_start(r_start), .r_valid(r_valid), .r_data(r_data), .r_stop(r_stop), .r_sound(!failed),
        .r_crc5(r_crc_token == 5'h06), .r_crc16(r_crc == 16'hb001), .t_go(t_go), .t_pid(t_pid), .t_with_data(t_with_data), .t_more(t_more), .t_data(t_data),
        .t_next(t_next), .m_byte_valid(m_byte_valid), .m_byte_ready(m_byte_ready), .m_byte_data(m_byte_data), .s_byte_valid(s_byte_valid),
        .s_byte_ready(s_byte_ready), .s_byte_data(s_byte_data), .configured(configured));

    // ---- to the transceiver: a register, a packet, or a chirp. What the transceiver interrupts is given up; a register write begins again.
    localparam B_IDLE = 3'd0, B_COMMAND = 3'd1, B_DATA = 3'd2, B_LOW = 3'd3, B_HIGH = 3'd4, B_VALUE = 3'd5, B_CHIRP = 3'd6;
    reg  [2:0]  b_state;
    reg  [7:0]  b_out;
    reg  [15:0] t_crc;
    reg         b_register, b_chirp, wrote, waiting;     // waiting: a packet was asked for
    reg         want_write, want_chirp;
    reg  [7:0]  write_at, write_value;
    assign data_oe = !dir && !dir_q;
    assign data_o = b_out;
    wire take = nxt && data_oe;
    wire after_command = b_state == B_COMMAND && !b_register && !b_chirp;
    assign t_next = take && (after_command || b_state == B_DATA) && t_with_data && t_more;
    always @(posedge clk) begin
        stp <= 1'b0; wrote <= 1'b0;
        if (t_go) waiting <= 1'b1;
        if (t_next) t_crc <= crc16_step(t_crc, t_data);
        if (fresh || dir) waiting <= t_go && !fresh && !dir;
        if (!rst_n || dir || dir_q) begin
            b_state <= B_IDLE; b_out <= 8'd0;
        end else case (b_state)
            B_IDLE: begin
                t_crc <= 16'hffff; b_register <= want_write && !wrote; b_chirp <= !want_write && want_chirp;
                b_out <= 8'd0;
                if (!stp && ((want_write && !wrote) || want_chirp || waiting || t_go)) begin
                    b_state <= B_COMMAND; waiting <= 1'b0;
                    b_out <= want_write && !wrote ? write_at : want_chirp ? 8'h40 : {4'h4, t_pid};
                end
            end
            B_VALUE: if (take) begin
                b_state <= B_IDLE; b_out <= 8'd0; stp <= 1'b1; wrote <= 1'b1;
            end
            B_CHIRP: if (!want_chirp && take) begin
                b_state <= B_IDLE; stp <= 1'b1;
            end
            B_LOW: if (take) begin
                b_state <= B_HIGH; b_out <= ~t_crc[15:8];
            end
            B_HIGH: if (take) begin
                b_state <= B_IDLE; b_out <= 8'd0; stp <= 1'b1;
            end
            default: if (take) begin                            // B_COMMAND, B_DATA
                if (b_state == B_COMMAND && b_register) begin
                    b_state <= B_VALUE; b_out <= write_value;
                end else if (b_state == B_COMMAND && b_chirp) begin
                    b_state <= B_CHIRP; b_out <= 8'd0;
                end else if (!t_with_data) begin
                    b_state <= B_IDLE; b_out <= 8'd0; stp <= 1'b1;
                end else if (t_more) begin
                    b_state <= B_DATA; b_out <= t_data;
                end else begin
                    b_state <= B_LOW; b_out <= ~t_crc[7:0];
                end
            end
        endcase
    end

    // ---- reset, speed, suspend
    localparam L_OTG = 4'd0, L_FULL = 4'd1, L_RUN = 4'd2, L_CHIRP_SET = 4'd3, L_CHIRP = 4'd4, L_LISTEN = 4'd5, L_HIGH = 4'd6, L_BACK = 4'd7, L_LOOK = 4'd8, L_ASLEEP = 4'd9;
    localparam TB = $clog2(4 * MS);
    localparam [31:0] MS_1_32 = MS, MS_2_32 = 2 * MS, MS_3_32 = 3 * MS, US_3_32 = 3 * US, US_200_32 = 200 * US;
    localparam [TB-1:0] MS_1 = MS_1_32[TB-1:0], MS_2 = MS_2_32[TB-1:0], MS_3 = MS_3_32[TB-1:0], US_3 = US_3_32[TB-1:0], US_200 = US_200_32[TB-1:0];
    reg [3:0]    l_state;
    reg [TB-1:0] timer, steady;             // since the state began; since the lines changed
    reg [1:0]    line_q;
    reg [2:0]    chirps;                    // of the host, J and K in turn, still to come
    reg          fast;                      // the speed to wake up with
    reg          armed;                     // full speed: the lines have left SE0 since the last reset
    wire         still = line == line_q;
    always @(posedge clk) begin
        line_q <= line;
        if (!still || active || !rst_n) steady <= {TB{1'b0}};
        else if (!(&steady)) steady <= steady + 1'b1;
        if (!(&timer)) timer <= timer + 1'b1;
        if (!rst_n) begin
            l_state <= L_OTG; want_write <= 1'b0; want_chirp <= 1'b0; high <= 1'b0; bus_reset <= 1'b0; suspended <= 1'b0; fast <= 1'b0; armed <= 1'b0;
        end else begin
            if (wrote) want_write <= 1'b0;
            case (l_state)
                L_OTG: begin
                    want_write <= !wrote; write_at <= OTG; write_value <= 8'h00;
                    if (wrote) l_state <= L_FULL;
                end
                L_FULL: begin
                    want_write <= !wrote; write_at <= FUNCTION; write_value <= SET_FULL; high <= 1'b0;
                    if (wrote) begin
                        l_state <= L_RUN; armed <= 1'b0;
                    end
                end
                L_RUN:
                    if (!high && !armed) begin                  // the reset goes on until the lines leave SE0
                        armed <= line != SE0; bus_reset <= bus_reset && line == SE0;
                    end else if (!high && line == SE0 && steady >= US_3) begin
                        l_state <= L_CHIRP_SET; bus_reset <= 1'b1;
                    end else if (!high && line == J && steady >= MS_3) begin
                        l_state <= L_ASLEEP; suspended <= 1'b1; fast <= 1'b0;
                    end else if (high && steady >= MS_3) l_state <= L_BACK;
                L_BACK: begin                               // reset or suspend? At full speed the lines tell.
                    want_write <= !wrote; write_at <= FUNCTION; write_value <= SET_FULL; timer <= {TB{1'b0}};
                    if (wrote) l_state <= L_LOOK;
                end
                L_LOOK: if (timer >= US_200) begin
                    if (line == SE0) begin
                        l_state <= L_CHIRP_SET; bus_reset <= 1'b1; high <= 1'b0;
                    end else begin
                        l_state <= L_ASLEEP; suspended <= 1'b1; fast <= 1'b1;
                    end
                end
                L_ASLEEP: begin
                    timer <= {TB{1'b0}};
                    if (line == SE0 && steady >= US_3) begin
                        suspended <= 1'b0;
                        // The end of a resume is SE0 too; a reset stays.
                        if (fast && steady < US_200) l_state <= L_ASLEEP;
                        else begin
                            l_state <= L_CHIRP_SET; bus_reset <= 1'b1; high <= 1'b0;
                        end
                    end else if (line == K) suspended <= 1'b0;
                    else if (!suspended && line == J && steady >= US_3) l_state <= fast ? L_HIGH : L_RUN;
                end
                L_CHIRP_SET: begin
                    want_write <= !wrote; write_at <= FUNCTION; write_value <= SET_CHIRP; timer <= {TB{1'b0}}; chirps <= 3'd6;
                    if (wrote) begin
                        l_state <= L_CHIRP; want_chirp <= 1'b1;
                    end
                end
                L_CHIRP: if (timer >= MS_2) begin
                    want_chirp <= 1'b0;
                    if (b_state == B_IDLE && !want_chirp) begin
                        l_state <= L_LISTEN; timer <= {TB{1'b0}};
                    end
                end
                L_LISTEN:
                    if (chirps == 3'd0) l_state <= L_HIGH;
                    else if (timer >= MS_2 + MS_1) l_state <= L_FULL;
                    else if (steady == US_3 && line == (chirps[0] ? J : K)) chirps <= chirps - 1'b1;
                default: begin                              // L_HIGH
                    want_write <= !wrote; write_at <= FUNCTION; write_value <= SET_HIGH;
                    if (wrote) begin
                        l_state <= L_RUN; high <= 1'b1; bus_reset <= 1'b0; steady <= {TB{1'b0}};
                    end
                end
            endcase
        end
    end
endmodule
`default_nettype wire
