using Irpwright.Cli;
using Irpwright.Guest.Processor;

ThreadPool.UnsafeQueueUserWorkItem(static _ => Interpreter.Prepare(), null);
return CommandLine.Invoke(args, Terminal.OfProcess());
