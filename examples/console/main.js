// Puts the page together.
"use strict";

const log = new FrameLog();
const totals = new Totals();
setUpTabs();
new ConsolePanel(log, totals);
new ChatPanel(log, totals);
new ClockPanel(log, totals);
new UploadPanel(log, totals);
