using Irpwright.Cli;

return CommandLine.Invoke(args, Terminal.OfProcess());
