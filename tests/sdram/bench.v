// hw/sdram.v against sim/sdram_model.v: host words, whole streams at full speed and with pauses, streams that end early, idle time. Prints one line; the
// last word is ok, or what went wrong first.
`timescale 1ns / 1ns
module bench;
    parameter MHZ = 75;
    parameter POWER_UP = 0;
    parameter WORDS = 4000;          // of a stream
    localparam EW = 16;

    reg clk = 1'b0;
    always #5 clk = !clk;
    reg [EW-9:0] first_row = 0;
    reg         start = 1'b0, stream = 1'b0, room = 1'b0, x_we = 1'b0, x_re = 1'b0;
    reg [EW-1:0] x_addr = 0;
    reg [31:0]  x_wdata = 0;
    wire        asked, m_valid, x_wait, sd_dqm, sd_oe;
    wire [31:0] m_data, x_rdata;
    wire [3:0]  sd_cmd;
    wire [1:0]  sd_bank;
    wire [12:0] sd_addr;
    wire [15:0] sd_out, sd_in;
    wire [127:0] fault;
    wire [63:0] fault_at;
    sdram #(.MHZ(MHZ), .EW(EW), .POWER_UP(POWER_UP)) u_sdram (
        .clk(clk), .start(start), .first_row(first_row), .stream(stream), .room(room), .asked(asked), .m_valid(m_valid), .m_data(m_data),
        .x_we(x_we), .x_re(x_re), .x_addr(x_addr), .x_wdata(x_wdata), .x_rdata(x_rdata), .x_wait(x_wait),
        .sd_cmd(sd_cmd), .sd_bank(sd_bank), .sd_addr(sd_addr), .sd_dqm(sd_dqm), .sd_out(sd_out), .sd_oe(sd_oe), .sd_in(sd_in));
    sdram_model #(.MHZ(MHZ), .EW(EW), .POWER_UP(POWER_UP)) u_model (
        .clk(clk), .sd_cmd(sd_cmd), .sd_bank(sd_bank), .sd_addr(sd_addr), .sd_dqm(sd_dqm), .sd_out(sd_out), .sd_oe(sd_oe), .sd_in(sd_in),
        .fault(fault), .fault_at(fault_at));

    // What word `at` holds: no two neighbours, banks or halves alike.
    function [31:0] content(input [31:0] at);
        content = (at + 32'd1) * 32'h9e3779b1 ^ {at[15:0], 16'd0};
    endfunction
    integer seed = 1, i, count, first, last;
    reg [127:0] wrong = 128'd0;

    task host(input write, input [EW-1:0] at);
        begin
            @(negedge clk);
            x_we = write; x_re = !write; x_addr = at; x_wdata = content(at);
            @(negedge clk);
            x_we = 1'b0; x_re = 1'b0;
            i = 0;
            while (x_wait && i < 2000) begin
                @(negedge clk);
                i = i + 1;
            end
            if (x_wait && wrong == 0) wrong = "host waits";
            @(negedge clk);
            if (!write && x_rdata !== content(at) && wrong == 0) wrong = "host data";
        end
    endtask

    // A stream of n words; with pauses there is room in three quarters of the cycles.
    integer cycle = 0;
    always @(posedge clk) cycle <= cycle + 1;
    task read_stream(input integer n, input pauses);
        begin
            @(negedge clk) start = 1'b1;
            @(negedge clk) begin start = 1'b0; stream = 1'b1; end
            count = 0; i = 0;
            while (count < n && i < 20 * n + 2000) begin
                room = !pauses || $random(seed) % 4 != 0;
                #1 if (asked && !room && wrong == 0) wrong = "no room";
                @(negedge clk);
                if (m_valid) begin
                    if (m_data !== content({first_row, 8'd0} + count) && wrong == 0) wrong = "stream data";
                    if (count == 0) first = cycle;
                    last = cycle;
                    count = count + 1;
                end
                i = i + 1;
            end
            if (count < n && wrong == 0) wrong = "stream stops";
            stream = 1'b0; room = 1'b0;
            repeat (60) @(negedge clk);
        end
    endtask

    integer k;
    initial begin
        if (POWER_UP != 0) for (k = 0; k < 2 << EW; k = k + 1) u_model.mem[k] = k[0] ? content(k / 2) >> 16 : content(k / 2);
        @(negedge clk) k = 0;
        while (x_wait && k < 300 * MHZ) begin
            @(negedge clk);
            k = k + 1;
        end
        if (x_wait) wrong = "never up";
        // The slow way in, over row and bank ends; then whole streams.
        for (k = 0; k < 520; k = k + 1) host(1'b1, k);
        for (k = 0; k < 520; k = k + 37) host(1'b0, k);
        host(1'b1, 65535); host(1'b0, 65535);
        if (POWER_UP == 0) for (k = 0; k < 2 << EW; k = k + 1) u_model.mem[k] = k[0] ? content(k / 2) >> 16 : content(k / 2);
        read_stream(WORDS, 1'b0);
        $write("%0d MHz: %0d words in %0d clocks, %0d.%0d%% of the bus; ", MHZ, WORDS, last - first + 2, 200 * WORDS / (last - first + 2),
               2000 * WORDS / (last - first + 2) % 10);
        if (200 * WORDS < 95 * (last - first + 2) && wrong == 0) wrong = "slow";
        read_stream(WORDS / 2, 1'b1);
        for (k = 0; k < 12; k = k + 1) begin
            first_row = k * 7;       // any bank
            read_stream(1 + k * 29, 1'b0);
            host(1'b0, 300 + k);
        end
        repeat (20 * MHZ) @(negedge clk);
        host(1'b0, 5);
        if (fault != 0) $display("%0s in clock %0d", fault, fault_at);
        else if (wrong != 0) $display("%0s", wrong);
        else $display("ok");
        $finish;
    end
endmodule
