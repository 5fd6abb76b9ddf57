using System.CommandLine;
using Irpwright.Guest.Images;
using Irpwright.Kernel;

namespace Irpwright.Cli;

/// <summary><c>irpwright inspect</c>.</summary>
static class InspectCommand
{
    public const string Examples = """
        Shows imports and whether they are supported, sections, exports, device names and I/O control codes.

        Examples:
          irpwright inspect queue.sys
          irpwright inspect queue.sys --json | jq .controlCodes
        """;

    public static Command Create(Terminal terminal)
    {
        var driver = new Argument<string>("DRIVER") { Description = "A .sys file" };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command("inspect", "Show what can be told about a compiled driver without running it.")
        {
            driver, json,
        };
        command.SetAction(parsed =>
        {
            if (!PortableExecutable.TryReadFile(parsed.GetValue(driver)!, out PortableExecutable? image, out ImageDiagnostic? error))
                throw CommandException.BadInput(error.ToString());
            using var machine = new Machine();
            ImageReport report = ImageReport.Create(image, new DriverImageLoader(machine).IsSupported);
            foreach (ImageDiagnostic warning in image.Warnings) terminal.Complain($"warning: {warning}");
            if (parsed.GetValue(json)) terminal.Output.Write(ImageJson.Of(report).Serialize());
            else new ImageText(terminal.Output, report).Write();
            return ExitCode.Clean;
        });
        return command;
    }
}
